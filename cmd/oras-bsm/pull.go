package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newPull(a *app) *cobra.Command {
	var dir, blocks string
	var o oci.PullOptions
	cmd := &cobra.Command{
		Use:   "pull REF -o DIR",
		Short: "Write the files of the model REF to DIR",
		Long: `Pull fetches and decodes the model REF and writes its files to DIR, the same
bytes as were pushed. Every chunk is checked against the manifest's digest as it
arrives; --verify also checks the finished tensors and files against the digests
taken when they were pushed.

Only what is missing is fetched: files and tensors that are in DIR already, of an
older version for example, are found by their SHA-256 and kept. A pull that was
interrupted keeps what it has checked in a hidden directory in DIR, where the same
pull goes on; oras-bsm gc DIR removes it. Until all files are whole those in DIR
stay as they are.

--include, --tensors and --blocks fetch a part of the model: files that match whole,
and other safetensors files cut down to the tensors that match, with a header of
their own. In patterns * stands for any characters, ? for one and [a-z] for one of
a range.`,
		Example: `  # from an OCI layout on this machine
  oras-bsm pull oci:./model.oci:v1 -o ./out

  # from a registry, by digest, checking everything
  oras-bsm pull --verify ghcr.io/org/mistral@sha256:DIGEST -o ./out

  # only what is small; only the first four blocks; only the attention of one
  oras-bsm pull ghcr.io/org/mistral:bsm --include '*.json' -o ./out
  oras-bsm pull ghcr.io/org/mistral:bsm --blocks 0-3 -o ./out
  oras-bsm pull ghcr.io/org/mistral:bsm --tensors '*.self_attn.*' --blocks 7 -o ./out`,
		Args:              takes("REF"),
		ValidArgsFunction: completeReference,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return &usageError{err: errors.New("say where to write the files: -o DIR")}
			}
			if blocks != "" {
				var err error
				if o.Blocks, err = oci.ParseBlocks(blocks); err != nil {
					return &usageError{err: fmt.Errorf("--blocks: %w", err)}
				}
			}
			return a.pull(cmd.Context(), args[0], dir, &o)
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "the `DIR` to write (required)")
	cmd.Flags().StringArrayVar(&o.Files, "include", nil, "only files that match this `PATTERN`; can be repeated")
	cmd.Flags().StringArrayVar(&o.Tensors, "tensors", nil, "only tensors that match this `PATTERN`; can be repeated")
	cmd.Flags().StringVar(&blocks, "blocks", "", "only tensors of these transformer blocks: `RANGES` such as 0-3,7")
	cmd.Flags().BoolVar(&o.Verify, "verify", false, "also check the MD5 of each tensor and the sha256 of each file")
	complete(cmd, "output", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	return cmd
}

func (a *app) pull(ctx context.Context, name, dir string, o *oci.PullOptions) error {
	ref, opts, done, err := a.job(name)
	if err != nil {
		return err
	}
	o.Options = opts
	r, err := oci.Pull(ctx, ref, dir, o)
	done()
	if errors.Is(err, path.ErrBadPattern) {
		return &usageError{err: err}
	}
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
	t.row("size", size(r.Decoded)+" decoded, "+size(r.Fetched)+" fetched")
	if r.Verified {
		t.row("verified", "every tensor and file")
	}
	t.row("took", pace(r.Decoded, r.Seconds))
	t.write(w)
}
