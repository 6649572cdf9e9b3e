package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newCheck(a *app) *cobra.Command {
	var subset string
	cmd := &cobra.Command{
		Use:   "check oci:DIR|oci-archive:FILE|(REF DIR)",
		Short: "Find damaged and missing blobs of a store, or files of a pulled model",
		Long: `Check oci:DIR, or oci-archive:FILE, reads every blob in the store and compares it
with its digest, and looks whether all that its tags need is there. --subset N/M
reads part N of M of the blobs, so that a large store can be read over M nights.

Check REF DIR compares the files in DIR, which REF was pulled to, with the sizes
and digests in the index of REF, and names the first tensor that differs. Of REF it
reads the manifest and the index alone.

Damaged or missing bytes give exit code 5, after the report. oras-bsm repair mends
them.`,
		Example: `  oras-bsm check oci:./model.oci
  oras-bsm check --subset 1/7 oci:./model.oci
  oras-bsm check ghcr.io/org/mistral:bsm ./out`,
		Args:              oneOrTwo("oci:DIR|oci-archive:FILE", "REF DIR"),
		ValidArgsFunction: completeStoreOrDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				if subset != "" {
					return &usageError{err: errors.New("--subset is for stores")}
				}
				return a.checkFiles(cmd.Context(), args[0], args[1])
			}
			return a.checkStore(cmd.Context(), args[0], subset)
		},
	}
	cmd.Flags().StringVar(&subset, "subset", "", "read part `N/M` of the blobs, by their digests")
	return cmd
}

// oneOrTwo returns a check that there are one or two arguments, which it names.
func oneOrTwo(one, two string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 1 || len(args) == 2 {
			return nil
		}
		return &usageError{err: fmt.Errorf("want %s or %s, got %d arguments", one, two, len(args))}
	}
}

// completeStoreOrDir completes the start of a reference, then a directory.
func completeStoreOrDir(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeReference(cmd, args, start)
	}
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func (a *app) checkStore(ctx context.Context, name, subset string) error {
	if !isStore(name) {
		return &usageError{err: fmt.Errorf("%q is no store on this machine: name oci:DIR or oci-archive:FILE", name), hint: "oras-bsm verify REF checks a model in a registry"}
	}
	ref, err := oci.ParseStore(name)
	if err != nil {
		return &usageError{err: err}
	}
	o := oci.CheckOptions{}
	if subset != "" {
		if o.Subset, err = oci.ParseSubset(subset); err != nil {
			return &usageError{err: fmt.Errorf("--subset: %w", err)}
		}
	}
	var done func()
	if o.Options, done, err = a.work(); err != nil {
		return err
	}
	r, err := oci.Check(ctx, ref, &o)
	done()
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { printCheck(w, r) }); err != nil {
		return err
	}
	return r.Err()
}

func (a *app) checkFiles(ctx context.Context, name, dir string) error {
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.CheckFiles(ctx, ref, dir, &o)
	done()
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { printCheckFiles(w, r, dir) }); err != nil {
		return err
	}
	return r.Err()
}

func printCheck(w io.Writer, r *oci.CheckResult) {
	t := table{}
	t.row("checked", escape(r.Ref))
	t.row("read", fmt.Sprintf("%d of %s, %s", r.Checked, count(r.Blobs, "blob"), size(r.Bytes)))
	t.row("damaged", strconv.Itoa(len(r.Damaged)))
	t.row("missing", strconv.Itoa(len(r.Missing)))
	t.row("unreferenced", count(len(r.Unreferenced), "blob")+", "+size(r.Waste))
	t.row("took", pace(r.Bytes, r.Seconds))
	t.write(w)
	printFaults(w, "damaged", r.Damaged)
	printFaults(w, "missing", r.Missing)
}

func printFaults(w io.Writer, what string, faults []oci.BlobFault) {
	for _, f := range faults {
		_, _ = fmt.Fprintf(w, "%s %s (%s), needed by %s: %s\n", what, f.Digest, size(f.Size), needed(f.Entries), escape(f.Problem))
	}
}

// needed lists entries of index.json, but not very many.
func needed(entries []string) string {
	const enough = 5
	rest := ""
	if n := len(entries) - enough; n > 0 {
		entries, rest = entries[:enough], fmt.Sprintf(" and %d more", n)
	}
	return cmp.Or(escape(strings.Join(entries, ", ")), "nothing") + rest
}

func printCheckFiles(w io.Writer, r *oci.FilesResult, dir string) {
	t := table{}
	t.row("checked", escape(dir))
	t.row("against", escape(r.Ref))
	t.row("digest", string(r.Digest))
	t.row("read", count(r.Files-len(r.Missing), "file")+", "+size(r.Bytes))
	t.row("changed", strconv.Itoa(len(r.Changed)))
	t.row("missing", strconv.Itoa(len(r.Missing)))
	t.row("others", count(len(r.Extra), "file"))
	t.row("took", pace(r.Bytes, r.Seconds))
	t.write(w)
	for _, f := range r.Changed {
		where := ""
		if f.Tensor != "" {
			where = ", from tensor " + escape(f.Tensor) + " on"
		}
		_, _ = fmt.Fprintf(w, "changed %s%s: %s\n", escape(f.Path), where, escape(f.Problem))
	}
	for _, p := range r.Missing {
		_, _ = fmt.Fprintf(w, "missing %s\n", escape(p))
	}
}
