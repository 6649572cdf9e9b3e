// Command genmodel writes a realistic model made from a seed: see package
// model for what it holds.
//
//	go run ./e2e/genmodel -o /tmp/model -size 4GiB -dtype bf16 -shards 4
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/oras-bsm/oras-bsm/e2e/model"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "genmodel:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	var o model.Options
	flags := flag.NewFlagSet("genmodel", flag.ExitOnError)
	dir := flags.String("o", "", "the `directory` to write (required)")
	flags.Func("size", "bytes of all tensors, such as 64MiB or 4GiB (default 64MiB)", func(s string) error {
		n, err := humanize.ParseBytes(s)
		o.Size = int64(n)
		return err
	})
	flags.Func("dtype", "bf16, f16, f32, fp8, mxfp4 or nvfp4 (default bf16)", func(s string) (err error) {
		o.Dtype, err = model.ParseDtype(s)
		return err
	})
	flags.IntVar(&o.Shards, "shards", 0, "safetensors files (default 3, or one for each 5 GB)")
	flags.IntVar(&o.Layers, "layers", 0, "transformer blocks (default by size)")
	flags.IntVar(&o.Hidden, "hidden", 0, "width, a multiple of 32 (default by size)")
	flags.Uint64Var(&o.Seed, "seed", 1, "another seed is another model")
	flags.BoolVar(&o.Tied, "tied", false, "give the head the same bytes as the embedding")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return fmt.Errorf("usage: genmodel -o DIR [flags]; -h lists them")
	}
	start := time.Now()
	if err := model.Generate(*dir, o); err != nil {
		return err
	}
	return report(stdout, *dir, time.Since(start))
}

// report lists the files of dir and how fast they were made.
func report(w io.Writer, dir string, took time.Duration) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var total int64
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		if _, err := fmt.Fprintf(w, "%12d  %s\n", info.Size(), e.Name()); err != nil {
			return err
		}
	}
	rate := uint64(float64(total) / took.Seconds())
	_, err = fmt.Fprintf(w, "%12d  in %v, %s/s\n", total, took.Round(time.Millisecond), humanize.Bytes(rate))
	return err
}
