package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newCopy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "copy SRC DST",
		Short: "Copy the artifact SRC to DST, with its signatures",
		Long: `Copy copies what SRC names to DST, byte for byte: a model, or any other artifact
or image, of all platforms, with all that refers to it, such as signatures and
bills of materials. Either may be in a registry, an OCI layout or an archive. Only
what DST does not have is moved; the tag is set last. A copy that was cut off goes
on where it was when it is started again.

Signatures that cosign finds by a tag are found by the same tag at DST. A registry
that keeps no lists of what refers to a manifest gets them under tags, and copy
says so. An archive that DST names is replaced as a whole.`,
		Example: `  # between registries; within one, nothing is sent that it can link
  oras-bsm copy ghcr.io/org/mistral:bsm registry.example/mirror/mistral:bsm

  # to this machine and back
  oras-bsm copy ghcr.io/org/mistral:bsm oci:./store:mistral
  oras-bsm copy oci:./store:mistral registry.example/mirror/mistral:bsm`,
		Args: takes("SRC", "DST"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, s string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				args = nil // a reference, too
			}
			return completeReference(cmd, args, s)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.copy(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) copy(ctx context.Context, from, to string) error {
	src, err := a.reference(from)
	if err != nil {
		return err
	}
	dst, err := a.reference(to)
	if err != nil {
		return err
	}
	return a.transport(ctx, "copied", src, dst, 0)
}

// reference reads a REF of a command line that has several.
func (a *app) reference(name string) (oci.Reference, error) {
	ref, err := oci.ParseReference(name, a.plainHTTP)
	if err != nil {
		return ref, &usageError{err: err, hint: "oras-bsm help references"}
	}
	return ref, nil
}

// transport copies src to dst and prints the result under what was done.
func (a *app) transport(ctx context.Context, verb string, src, dst oci.Reference, part int64) error {
	o, done, err := a.work()
	if err != nil {
		return err
	}
	r, err := oci.Copy(ctx, src, dst, &oci.CopyOptions{Options: o, PartSize: part})
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printCopy(w, verb, r) })
}

func printCopy(w io.Writer, verb string, r *oci.CopyResult) {
	t := table{}
	t.row(verb, escape(r.Ref))
	t.row("digest", string(r.Digest))
	t.row("holds", count(r.Manifests, "manifest")+", "+count(r.Blobs, "blob")+", "+count(r.Referrers, "referrer"))
	moved := size(r.Size) + ": " + size(r.Copied) + " copied, " + size(r.Present) + " present"
	if r.Mounted > 0 {
		moved += ", " + size(r.Mounted) + " linked"
	}
	t.row("size", moved)
	if n := len(r.Files); n > 1 {
		t.row("parts", escape(r.Files[0]+" to "+r.Files[n-1]))
	}
	if r.Copied > 0 {
		t.row("took", pace(r.Copied, r.Seconds))
	}
	t.write(w)
}
