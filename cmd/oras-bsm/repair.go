package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newRepair(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "repair REF oci:DIR|DIR",
		Short: "Fetch what is damaged or missing from where REF names it",
		Long: `Repair REF oci:DIR reads every blob of the OCI layout, as check does, moves the
damaged ones aside and fetches them, and what is missing, from the repository,
layout or archive that REF names. The tag of REF does not matter: blobs are named
by their digests. gc removes what was moved aside. What REF does not have either is
listed, with exit code 5.

Repair REF DIR writes the files of the model REF to DIR again, those that are not
as they should be; it checks each tensor and file.`,
		Example: `  oras-bsm repair ghcr.io/org/mistral:bsm oci:./model.oci
  oras-bsm repair ghcr.io/org/mistral:bsm ./out`,
		Args:              takes("REF", "oci:DIR|DIR"),
		ValidArgsFunction: completeStoreOrDir,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.repair(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) repair(ctx context.Context, name, where string) error {
	if !isStore(where) {
		return a.pull(ctx, name, where, &oci.PullOptions{Verify: true})
	}
	to, err := oci.ParseStore(where)
	if err != nil {
		return &usageError{err: err}
	}
	ref, o, done, err := a.job(name)
	if err != nil {
		return err
	}
	r, err := oci.Repair(ctx, ref, to, &o)
	done()
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { printRepair(w, r) }); err != nil {
		return err
	}
	return r.Err()
}

func printRepair(w io.Writer, r *oci.RepairResult) {
	t := table{}
	t.row("repaired", escape(r.Store))
	t.row("from", escape(r.Ref))
	t.row("damaged", strconv.Itoa(r.Damaged))
	t.row("missing", strconv.Itoa(r.Missing))
	t.row("fetched", count(r.Fetched, "blob")+", "+size(r.Bytes))
	t.row("left", strconv.Itoa(len(r.Left)))
	t.row("took", pace(r.Bytes, r.Seconds))
	t.write(w)
	printFaults(w, "left", r.Left)
}
