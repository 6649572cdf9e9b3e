package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/oci"
)

// all is the value of flags that choose one of several for every one of them.
const all = "all"

func newBench(a *app) *cobra.Command {
	var level, impl, sample string
	cmd := &cobra.Command{
		Use:   "bench DIR|FILE",
		Short: "Measure how fast and how small a model gets on this machine",
		Long: `Bench encodes and decodes the model in the directory DIR, or the one FILE, in
memory, as push and pull would, and compares the result with the original. For
each dtype and level it shows GB of decoded bytes a second, the speed of memcpy in
the same run, and the encoded size in percent of the decoded size. Reading files,
their check sums and the network are not part of it; the hash of every chunk is
part of decoding.

It takes chunks evenly from the whole model, up to --sample of each dtype, and
medians of several rounds. It uses one core unless --jobs says otherwise; then
speeds are totals. It needs about 800 MB of memory, more for a large --sample. If
the bytes that come back are not those of the model, the exit code is 5.`,
		Example: `  oras-bsm bench ./model
  oras-bsm bench --level default --jobs 8 ./model
  oras-bsm bench --impl all ./model/model-00001-of-00003.safetensors
  oras-bsm bench --json ./model.gguf | jq -r '.[] | [.dtype, .level, .ratio, .decode_gbps] | @tsv'`,
		Args: takes("DIR|FILE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := parseBench(level, impl, sample)
			if err != nil {
				return &usageError{err: err}
			}
			return a.bench(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&level, "level", all, "the `LEVEL` of compression: default, max or all")
	cmd.Flags().StringVar(&impl, "impl", "", "the `NAME` of an implementation: "+strings.Join(implementations(), ", ")+" (default: the fastest, "+implementations()[0]+")")
	cmd.Flags().StringVar(&sample, "sample", "64MiB", "how much of each dtype is measured: a `SIZE` such as 256MiB")
	complete(cmd, "level", cobra.FixedCompletions([]cobra.Completion{codec.Default.String(), codec.Max.String(), all}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "impl", cobra.FixedCompletions(implementations(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// implementations lists what --impl takes.
func implementations() []string { return append(codec.Implementations(), all) }

// parseBench reads the flags of bench.
func parseBench(level, impl, sample string) (*oci.BenchOptions, error) {
	o := &oci.BenchOptions{}
	if level != all {
		l, err := codec.ParseLevel(level)
		if err != nil {
			return nil, fmt.Errorf("--level: %w, or all", err)
		}
		o.Levels = []codec.Level{l}
	}
	switch {
	case impl == all:
		o.Impls = codec.Implementations()
	case slices.Contains(codec.Implementations(), impl):
		o.Impls = []string{impl}
	case impl != "":
		return nil, fmt.Errorf("--impl: this CPU has no %q: use %s", impl, strings.Join(implementations(), ", "))
	}
	n, err := humanize.ParseBytes(sample)
	if err != nil || n < codec.MaxChunk || n > oci.MaxSample {
		return nil, fmt.Errorf("--sample: %q is not a size from %s to %s", sample, humanize.IBytes(codec.MaxChunk), humanize.IBytes(oci.MaxSample))
	}
	o.Sample = int64(n)
	return o, nil
}

func (a *app) bench(ctx context.Context, path string, opts *oci.BenchOptions) error {
	o, done, err := a.work()
	if err != nil {
		return err
	}
	opts.Jobs, opts.Progress, opts.Warn = o.Jobs, o.Progress, o.Warn
	r, err := oci.Bench(ctx, path, opts)
	done()
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { printBench(w, r) })
}

func printBench(w io.Writer, list []oci.BenchResult) {
	t := table{align: "   >>>>>"}
	t.row("DTYPE", "LEVEL", "IMPL", "ENCODE", "DECODE", "MEMCPY", "RATIO", "SAMPLE")
	for _, r := range list {
		t.row(r.Dtype, r.Level, r.Impl, speed(r.Encode), speed(r.Decode), speed(r.Memcpy), ratio(r.Encoded, r.Decoded), size(r.Decoded))
	}
	t.write(w)
}

// speed writes GB a second with three digits: "9.61 GB/s".
func speed(gbps float64) string { return size(int64(gbps*1e9)) + "/s" }
