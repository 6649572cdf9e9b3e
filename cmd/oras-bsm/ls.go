package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/mediatypes"
	"github.com/oras-bsm/oras-bsm/oci"
)

func newList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls HOST/REPOSITORY|oci:DIR|oci-archive:FILE",
		Short: "List the tags of a repository, layout or archive",
		Long: `Ls lists the tags of a repository. Of an OCI layout or archive, which is on this
machine, it also shows what each tag names: its digest, what it is, its encoded
size and, of a model, the size of its files.`,
		Example: `  oras-bsm ls ghcr.io/org/mistral
  oras-bsm ls oci:./model.oci
  oras-bsm ls --json oci:./model.oci | jq -r '.entries[].tag'`,
		Args:              takes("HOST/REPOSITORY|oci:DIR|oci-archive:FILE"),
		ValidArgsFunction: completeWhole,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.list(cmd.Context(), args[0]) },
	}
}

func (a *app) list(ctx context.Context, name string) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.List(ctx, ref, &o)
	done()
	if err != nil {
		return err
	}
	if r.Truncated {
		o.Warn("there are more tags than these " + strconv.Itoa(len(r.Entries)))
	}
	return a.print(r, func(w io.Writer) { printList(w, r) })
}

func printList(w io.Writer, r *oci.ListResult) {
	t := table{align: "   >>"}
	for _, e := range r.Entries {
		if e.Digest == "" {
			_, _ = fmt.Fprintln(w, escape(e.Tag))
			continue
		}
		decoded := "-"
		if e.Decoded != nil {
			decoded = size(*e.Decoded)
		}
		if len(t.rows) == 0 {
			t.row("TAG", "DIGEST", "TYPE", "ENCODED", "DECODED", "")
		}
		t.row(cmp.Or(escape(e.Tag), "-"), shortDigest(string(e.Digest)), entryType(e), size(e.Encoded), decoded, escape(e.Problem))
	}
	t.write(w)
}

// entryType says in a word what an entry of a layout is.
func entryType(e oci.EntryReport) string {
	switch {
	case e.ArtifactType == mediatypes.ArtifactType:
		return "model"
	case e.ArtifactType != "":
		return escape(e.ArtifactType)
	case e.Problem != "":
		return "?"
	}
	return "image"
}
