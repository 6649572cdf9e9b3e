package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/oci"
)

func newPush(a *app) *cobra.Command {
	var level string
	var mountFrom []string
	layerSize := byteSize(oci.DefaultLayerSize)
	cmd := &cobra.Command{
		Use:   "push REF DIR",
		Short: "Store the model directory DIR as REF",
		Long: `Push encodes every file below DIR, decodes it again to compare, and stores the
result as REF. Tensors of safetensors and GGUF files are compressed by what they
are; all else is kept as bytes. The tag is set last: before that nothing can be
seen under it. What the store already holds is not sent again. DIR must not
contain the store.

A push to a registry needs up to three times the layer size of temporary space,
about 6 GB at the default of 2GiB; $TMPDIR names where. An oci-archive:FILE is
replaced as a whole: FILE must not name anything else that is to be kept.

A registry must take a layer in one PUT, or in chunks, in which one of more than
32 MiB goes on after a fault. If it has the cross-repository mounts of the OCI
distribution spec, what a repository named by --mount-from holds, such as the
base of a fine-tune, is not sent.`,
		Example: `  # no server needed
  oras-bsm push oci:./model.oci:v1 ./model

  # one file, to carry over an air gap
  oras-bsm push oci-archive:./model.tar:v1 ./model

  # a registry; smaller, and slower
  oras-bsm push --level max ghcr.io/org/mistral:bsm ./Mistral-7B-Instruct-v0.3

  # a fine-tune, without sending the blocks it shares with its base
  oras-bsm push --mount-from ghcr.io/org/mistral ghcr.io/org/mistral-chat:bsm ./chat`,
		Args: takes("REF", "DIR"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, s string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return completeReference(cmd, args, s)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := codec.ParseLevel(level)
			if err != nil {
				return &usageError{err: fmt.Errorf("--level: %w", err)}
			}
			o := &oci.PushOptions{Level: l, LayerSize: int64(layerSize)}
			for _, s := range mountFrom {
				from, err := oci.ParseReference(s, a.plainHTTP)
				if err != nil {
					return &usageError{err: fmt.Errorf("--mount-from: %w", err), hint: "oras-bsm help references"}
				}
				o.MountFrom = append(o.MountFrom, from)
			}
			return a.push(cmd.Context(), args[0], args[1], o)
		},
	}
	cmd.Flags().StringVar(&level, "level", codec.Default.String(), "the `LEVEL` of compression, default or max; both are lossless")
	cmd.Flags().Var(&layerSize, "max-layer-size", "the largest encoded layer, for registries with a limit: a `SIZE` such as 500MB")
	cmd.Flags().StringArrayVar(&mountFrom, "mount-from", nil, "a `REPOSITORY` of the same registry that may hold layers already, which are then not sent; can be repeated")
	complete(cmd, "mount-from", cobra.NoFileCompletions)
	levels := []cobra.Completion{
		cobra.CompletionWithDesc(codec.Default.String(), "as fast as memory"),
		cobra.CompletionWithDesc(codec.Max.String(), "smaller, slower"),
	}
	complete(cmd, "level", cobra.FixedCompletions(levels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) push(ctx context.Context, name, dir string, opts *oci.PushOptions) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	opts.Options = o
	r, err := oci.Push(ctx, ref, dir, opts)
	done()
	if err != nil {
		return &pushError{ref: ref.String(), err: err}
	}
	return a.print(r, func(w io.Writer) { printPush(w, r) })
}

func printPush(w io.Writer, r *oci.PushResult) {
	t := table{}
	t.row("pushed", escape(r.Ref))
	t.row("digest", string(r.Digest))
	t.row("holds", count(r.Layers, "layer")+", "+count(r.Blocks, "block"))
	t.row("size", sizes(r.Decoded, r.Encoded))
	t.row("took", pace(r.Decoded, r.Seconds))
	t.write(w)
}
