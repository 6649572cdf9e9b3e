package main

import (
	"context"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/oci"
)

func newSave(a *app) *cobra.Command {
	var split string
	cmd := &cobra.Command{
		Use:   "save REF FILE",
		Short: "Write the artifact REF to one file, or in parts",
		Long: `Save writes what REF names, with its signatures, to the archive FILE: a tar that
holds an OCI layout, under the tag of REF. It is copy to oci-archive:FILE. Other
commands read the archive in place, without a network: verify oci-archive:FILE.

With --split the archive is written in parts, FILE.001, FILE.002 and so on, to be
carried on media that hold less. A part that is written is called FILE.NNN.part; it
is finished when it has its name, and may be moved away. All parts in one directory
are read as FILE, and "cat FILE.0* > FILE" joins them.

The same artifact gives the same bytes. A save that was cut off goes on where it was
when it is started again: what is there is read and checked, and stays. Parts that
are not there are written again.`,
		Example: `  # here
  oras-bsm save ghcr.io/org/mistral:bsm ./mistral.tar

  # in parts for media of 32 GB
  oras-bsm save --split 31GB ghcr.io/org/mistral:bsm ./mistral.tar

  # there
  oras-bsm verify oci-archive:./mistral.tar
  oras-bsm load ./mistral.tar registry.example/mirror/mistral:bsm`,
		Args: takes("REF", "FILE"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, s string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return completeReference(cmd, args, s)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			part, err := parseSplit(split)
			if err != nil {
				return &usageError{err: err}
			}
			return a.save(cmd.Context(), args[0], args[1], part)
		},
	}
	cmd.Flags().StringVar(&split, "split", "", "write parts of at most this `SIZE`, such as 31GB (default: one file)")
	complete(cmd, "split", cobra.NoFileCompletions)
	return cmd
}

// parseSplit reads the size of a part; 0 is none.
func parseSplit(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, fmt.Errorf("--split: %q is not a size such as 500MB or 4GiB", s)
	}
	return int64(n), nil
}

func (a *app) save(ctx context.Context, from, file string, part int64) error {
	src, err := a.reference(from)
	if err != nil {
		return err
	}
	dst, err := src.InArchive(file)
	if err != nil {
		return &usageError{err: err}
	}
	return a.transport(ctx, "saved", src, dst, part)
}

func newLoad(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "load FILE REF",
		Short: "Copy the artifact in the archive FILE to REF",
		Long: `Load copies the artifact that the archive FILE holds to REF, with its signatures.
FILE may be in parts, FILE.001, FILE.002 and so on, all in one directory. It is copy
from oci-archive:FILE: only what REF does not have is moved, and a load that was cut
off goes on where it was when it is started again.`,
		Example: `  oras-bsm load ./mistral.tar registry.example/mirror/mistral:bsm
  oras-bsm load ./mistral.tar oci:./store:mistral`,
		Args: takes("FILE", "REF"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, s string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return completeReference(cmd, args[1:], s)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.load(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) load(ctx context.Context, file, to string) error {
	src, err := oci.Reference{}.InArchive(file)
	if err != nil {
		return &usageError{err: err}
	}
	dst, err := a.reference(to)
	if err != nil {
		return err
	}
	return a.transport(ctx, "loaded", src, dst, 0)
}
