package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newPull(a *app) *cobra.Command {
	var dir string
	var verify bool
	cmd := &cobra.Command{
		Use:   "pull REF -o DIR",
		Short: "Write the files of the model REF to DIR",
		Long: `Pull fetches and decodes the model REF and writes its files to DIR, the same
bytes as were pushed. Every chunk is checked against the manifest's digest as it
arrives; --verify also checks the finished tensors and files against the digests
taken when they were pushed.`,
		Example: `  # from an OCI layout on this machine
  oras-bsm pull oci:./model.oci:v1 -o ./out

  # from a registry, by digest, checking everything
  oras-bsm pull --verify ghcr.io/org/mistral@sha256:DIGEST -o ./out`,
		Args:              takes("REF"),
		ValidArgsFunction: completeReference,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return &usageError{err: errors.New("say where to write the files: -o DIR")}
			}
			return a.pull(cmd.Context(), args[0], dir, verify)
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "the `directory` to write (required)")
	cmd.Flags().BoolVar(&verify, "verify", false, "also check the MD5 of each tensor and the sha256 of each file")
	complete(cmd, "output", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	return cmd
}

func (a *app) pull(ctx context.Context, name, dir string, verify bool) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.Pull(ctx, ref, dir, &oci.PullOptions{Options: o, Verify: verify})
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printPull(w, r, dir) })
}

func printPull(w io.Writer, r *oci.PullResult, dir string) {
	t := table{}
	t.row("pulled", escape(r.Ref))
	t.row("digest", string(r.Digest))
	t.row("wrote", count(r.Files, "file")+" to "+escape(dir))
	t.row("size", sizes(r.Decoded, r.Encoded))
	if r.Verified {
		t.row("verified", "every tensor and file")
	}
	t.row("took", pace(r.Decoded, r.Seconds))
	t.write(w)
}
