package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newGC(a *app) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "gc oci:DIR|DIR",
		Short: "Remove what is not in use from a layout or directory",
		Long: `Gc removes from the OCI layout oci:DIR the blobs that no tag needs any more, what
killed pushes and copies left, and the damaged blobs that repair has moved aside.
A plain DIR is one that a model was pulled to: gc removes what interrupted pulls
left in it, which a later pull would go on with.

Nothing is removed while a push or copy writes to the layout, and nothing if a
manifest in use cannot be read. Other programs know nothing of this lock: let them
end first. To drop a tag, take its entry out of index.json.`,
		Example: `  oras-bsm gc --dry-run oci:./model.oci
  oras-bsm gc oci:./model.oci
  oras-bsm gc ./out`,
		Args:              takes("oci:DIR|DIR"),
		ValidArgsFunction: completeStore,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.gc(cmd.Context(), args[0], dryRun) },
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "remove nothing, only count")
	return cmd
}

// isStore reports whether an argument names a store, and not a directory of files.
func isStore(arg string) bool {
	return strings.HasPrefix(arg, "oci:") || strings.HasPrefix(arg, "oci-archive:")
}

// completeStore completes what is a layout or a directory.
func completeStore(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 || isStore(start) {
		return completeWhole(cmd, args, start)
	}
	return []cobra.Completion{"oci:"}, cobra.ShellCompDirectiveNoSpace // or a directory
}

func (a *app) gc(ctx context.Context, name string, dryRun bool) error {
	var r *oci.GCResult
	var err error
	if isStore(name) {
		var ref oci.Reference
		if ref, err = oci.ParseStore(name); err != nil {
			return &usageError{err: err}
		}
		r, err = oci.GC(ctx, ref, dryRun)
	} else {
		r, err = oci.GCDir(ctx, name, dryRun)
	}
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printGC(w, r) })
}

func printGC(w io.Writer, r *oci.GCResult) {
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	t := table{}
	t.row("store", escape(r.Ref))
	t.row(verb, count(r.Blobs, "blob")+", "+count(r.Temporary, "leftover")+", "+size(r.Bytes))
	t.row("kept", count(r.Kept, "blob"))
	t.write(w)
}
