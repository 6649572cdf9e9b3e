package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newDiff(a *app) *cobra.Command {
	var tensors bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show how the model B differs from the model A",
		Long: `Diff compares the files, tensors and layers of two models by their digests. It
reads the manifests and indexes alone, no weights. It also tells how many encoded
bytes a machine that has A fetches for B: if it takes whole layers, and if it takes
only the chunks that hold what A does not have.

The exit code is 0 whether or not they differ.`,
		Example: `  oras-bsm diff ghcr.io/org/mistral:v1 ghcr.io/org/mistral:v2
  oras-bsm diff --tensors oci:./model.oci:base oci:./model.oci:tuned
  oras-bsm diff --json A B | jq .fetch`,
		Args: takes("A", "B"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeReference(cmd, args[:max(len(args)-1, 0)], start)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), args[0], args[1], tensors)
		},
	}
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list the tensors, too")
	return cmd
}

func (a *app) diff(ctx context.Context, nameA, nameB string, tensors bool) error {
	refB, err := oci.ParseReference(nameB, a.plainHTTP)
	if err != nil {
		return &usageError{err: err, hint: "oras-bsm help references"}
	}
	refA, o, done, err := a.job(nameA)
	if err != nil {
		return err
	}
	r, err := oci.Diff(ctx, refA, refB, &o)
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printDiff(w, r, tensors) })
}

func printDiff(w io.Writer, r *oci.DiffResult, tensors bool) {
	same := 0
	for _, l := range r.Layers {
		if l.Same {
			same++
		}
	}
	t := table{}
	t.row("A", escape(r.A.Ref), string(r.A.Digest), sizes(r.A.Decoded, r.A.Encoded))
	t.row("B", escape(r.B.Ref), string(r.B.Digest), sizes(r.B.Decoded, r.B.Encoded))
	t.write(w)
	t = table{align: " >>>>"}
	t.row("", "SAME", "CHANGED", "ADDED", "REMOVED")
	n := strconv.Itoa
	t.row("files", n(r.Files.Same), n(len(r.Files.Changed)), n(len(r.Files.Added)), n(len(r.Files.Removed)))
	t.row("tensors", n(r.Tensors.Same), n(len(r.Tensors.Changed)), n(len(r.Tensors.Added)), n(len(r.Tensors.Removed)))
	_, _ = fmt.Fprintln(w)
	t.write(w)
	_, _ = fmt.Fprintf(w, "\n%d of %s of B are in A. Who has A fetches %s in layers, or %s in chunks.\n",
		same, count(len(r.Layers), "layer"), size(r.Fetch.Layers), size(r.Fetch.Tensors))
	for _, section := range []table{changedLayers(r), changedFiles(r), changedTensors(r, tensors)} {
		if len(section.rows) > 1 {
			_, _ = fmt.Fprintln(w)
			section.write(w)
		}
	}
}

func changedLayers(r *oci.DiffResult) table {
	t := table{align: ">  >"}
	t.row("LAYER", "TYPE", "BLOCK", "ENCODED", "DIGEST")
	for i, l := range r.Layers {
		if l.Same {
			continue
		}
		block := escape(l.Stack)
		if l.Block != nil {
			block += " " + strconv.Itoa(*l.Block)
		}
		t.row(strconv.Itoa(i), shortType(l.MediaType), block, size(l.Encoded), shortDigest(string(l.Digest)))
	}
	return t
}

func changedFiles(r *oci.DiffResult) table {
	t := table{}
	t.row("", "FILE")
	for _, part := range []struct {
		mark  string
		paths []string
	}{{"changed", r.Files.Changed}, {"added", r.Files.Added}, {"removed", r.Files.Removed}} {
		for _, p := range part.paths {
			t.row(part.mark, escape(p))
		}
	}
	return t
}

func changedTensors(r *oci.DiffResult, show bool) table {
	t := table{align: "   >"}
	t.row("", "DTYPE", "SHAPE", "SIZE", "TENSOR")
	if !show {
		return t
	}
	row := func(mark string, x oci.TensorRef) {
		t.row(mark, escape(x.Dtype), shape(x.Shape), size(x.Size), escape(x.Name))
	}
	for _, x := range r.Tensors.Changed {
		row("changed", x.TensorRef)
	}
	for _, x := range r.Tensors.Added {
		row("added", x)
	}
	for _, x := range r.Tensors.Removed {
		row("removed", x)
	}
	return t
}
