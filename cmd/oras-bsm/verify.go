package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify REF",
		Short: "Check every byte of the model REF",
		Long: `Verify reads the whole model REF, decodes it and checks everything that was
recorded when it was pushed: digests of manifests, layers and chunks, of each
tensor and of each file. It writes nothing. Damage gives exit code 5.`,
		Example: `  oras-bsm verify oci:./model.oci:v1
  oras-bsm verify --json ghcr.io/org/mistral:bsm`,
		Args:              takes("REF"),
		ValidArgsFunction: completeReference,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), args[0]) },
	}
}

func (a *app) verify(ctx context.Context, name string) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.Verify(ctx, ref, &o)
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printVerify(w, r) })
}

func printVerify(w io.Writer, r *oci.VerifyResult) {
	t := table{}
	t.row("verified", escape(r.Ref))
	t.row("digest", string(r.Digest))
	t.row("intact", count(r.Layers, "layer")+", "+count(r.Files, "file")+", "+count(r.Tensors, "tensor")+", "+size(r.Decoded))
	t.row("took", pace(r.Decoded, r.Seconds))
	t.write(w)
}
