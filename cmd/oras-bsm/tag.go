package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newTag(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tag REF TAG",
		Short: "Give the model REF another tag",
		Long: `Tag gives what REF names the tag TAG, in the same repository or layout. Digests
stay as they are, and nothing is sent but the manifest. A TAG that there is
already names REF from then on. An archive is written as a whole, so its tag
cannot be changed: copy it.`,
		Example: `  oras-bsm tag ghcr.io/org/mistral:bsm v1.0
  oras-bsm tag oci:./model.oci@sha256:DIGEST good`,
		Args:              takes("REF", "TAG"),
		ValidArgsFunction: completeReference,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.tag(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) tag(ctx context.Context, name, tag string) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.Tag(ctx, ref, tag, &o)
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) {
		t := table{}
		t.row("tagged", escape(r.Tagged))
		t.row("digest", string(r.Digest))
		t.write(w)
	})
}
