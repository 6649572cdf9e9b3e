package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci"
)

func newInspect(a *app) *cobra.Command {
	var tensors, strict bool
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show what the model REF is made of",
		Long: `Inspect shows the layers, files and dtypes of the model REF, and how far each
was compressed: the ratio is the encoded size in percent of the decoded size. It
reads the manifest and the index alone, no weights. --json holds everything, the
tensors included.`,
		Example: `  oras-bsm inspect oci:./model.oci:v1
  oras-bsm inspect --tensors ghcr.io/org/mistral:bsm
  oras-bsm inspect --json oci:./model.oci:v1 | jq -r '.tensors[] | [.name, .md5] | @tsv'`,
		Args:              takes("REF"),
		ValidArgsFunction: completeReference,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inspect(cmd.Context(), args[0], tensors, strict)
		},
	}
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list every tensor, too")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit 2 if a safetensors or GGUF file was broken and is stored as opaque bytes")
	return cmd
}

func (a *app) inspect(ctx context.Context, name string, tensors, strict bool) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.Inspect(ctx, ref, &o)
	done()
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { printReport(w, r, tensors) }); err != nil || !strict {
		return err
	}
	return checkStrict(r)
}

// checkStrict refuses a model with files that are safetensors or GGUF by name only.
func checkStrict(r *oci.Report) error {
	var opaque []string
	for _, f := range r.Files {
		ext := strings.ToLower(path.Ext(f.Path))
		if (ext == ".safetensors" || ext == ".gguf") && f.Format == "" {
			opaque = append(opaque, strconv.Quote(f.Path))
		}
	}
	if len(opaque) == 0 {
		return nil
	}
	return &usageError{
		err:  fmt.Errorf("broken, and stored as opaque bytes: %s", strings.Join(opaque, ", ")),
		hint: "push the directory again to see what is wrong with them",
	}
}

func printReport(w io.Writer, r *oci.Report, tensors bool) {
	sections := []table{summary(r), layerTable(r), dtypeTable(r), fileTable(r)}
	if tensors {
		sections = append(sections, tensorTable(r))
	}
	for i, t := range sections {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		t.write(w)
	}
}

func summary(r *oci.Report) table {
	t := table{}
	t.row("model", escape(r.Ref))
	t.row("digest", string(r.Digest))
	for _, m := range r.Manifests {
		t.row(escape(m.Platform), string(m.Digest))
	}
	t.row("level", escape(r.Level))
	t.row("holds", strings.Join([]string{
		count(len(r.Files), "file"), count(len(r.Tensors), "tensor"), count(r.Blocks, "block"), count(len(r.Layers), "layer"),
	}, ", "))
	t.row("size", sizes(r.Decoded, r.Encoded))
	return t
}

func layerTable(r *oci.Report) table {
	t := table{align: ">  >>>"}
	t.row("LAYER", "TYPE", "BLOCK", "ENCODED", "DECODED", "RATIO", "DIGEST")
	for i, l := range r.Layers {
		block := escape(l.Stack)
		if l.Block != nil {
			block += " " + strconv.Itoa(*l.Block)
		}
		t.row(strconv.Itoa(i), shortType(l.MediaType), block,
			size(l.Encoded), size(l.Decoded), ratio(l.Encoded, l.Decoded), shortDigest(string(l.Digest)))
	}
	return t
}

func dtypeTable(r *oci.Report) table {
	t := table{align: " >>>>"}
	t.row("DTYPE", "TENSORS", "ENCODED", "DECODED", "RATIO")
	for _, d := range r.Dtypes {
		t.row(escape(d.Dtype), strconv.Itoa(d.Tensors), size(d.Encoded), size(d.Decoded), ratio(d.Encoded, d.Decoded))
	}
	return t
}

func fileTable(r *oci.Report) table {
	t := table{align: ">"}
	t.row("SIZE", "FORMAT", "FILE")
	for _, f := range r.Files {
		t.row(size(f.Size), cmp.Or(escape(f.Format), "-"), escape(f.Path))
	}
	return t
}

// tensorTable marks a tensor that takes no room of its own with the name of
// the one that holds its bytes.
func tensorTable(r *oci.Report) table {
	t := table{align: "  >>>"}
	t.row("DTYPE", "SHAPE", "ENCODED", "DECODED", "RATIO", "TENSOR")
	for _, x := range r.Tensors {
		name, part := escape(x.Name), ratio(x.Encoded, x.Decoded)
		if x.SharedWith != nil {
			name, part = name+" = "+escape(*x.SharedWith), "shared"
		}
		t.row(escape(x.Dtype), shape(x.Shape), size(x.Encoded), size(x.Decoded), part, name)
	}
	return t
}

// shape writes the dimensions as "4096x11008", those of a scalar as "scalar".
func shape(dims []int64) string {
	if len(dims) == 0 {
		return "scalar"
	}
	s := make([]string, len(dims))
	for i, d := range dims {
		s[i] = strconv.FormatInt(d, 10)
	}
	return strings.Join(s, "x")
}

// shortType is the part of a layer's media type that tells it from the others.
func shortType(mediaType string) string {
	switch mediaType {
	case mediatypes.BlockLayer:
		return "block"
	case mediatypes.FilesLayer:
		return "files"
	case mediatypes.IndexLayer:
		return "index"
	}
	return escape(mediaType)
}

// shortDigest is enough of a digest to tell layers apart.
func shortDigest(d string) string {
	const enough = len("sha256:") + 12
	return escape(d[:min(len(d), enough)])
}
