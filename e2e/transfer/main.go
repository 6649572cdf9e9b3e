// Command transfer measures pulls over networks of several speeds: oras-bsm pull,
// and skopeo and curl with the same files uncompressed, from the same server into
// the same directories.
//
//	go run ./e2e/transfer -size 2GiB -rates 1,5,10,0
//
// The server is in this process and limits what it sends; it reads what oras-bsm
// push has stored. The model is a generated one. Run it with nothing else running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
)

// options are the flags.
type options struct {
	size   uint64
	dtype  model.Dtype
	rates  []float64 // gigabits a second; 0: no limit
	memory string
	disk   string
	rounds int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parse())
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted") // which ends what runs, too
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}

// parse reads the command line. Where it makes no sense, the program ends.
func parse() options {
	o := options{size: 2 << 30, dtype: model.DtypeBF16, rates: []float64{1, 5, 10, 0}}
	flag.Func("size", "bytes of the `model` (default 2GiB)", func(s string) (err error) {
		o.size, err = humanize.ParseBytes(s)
		return err
	})
	flag.Func("dtype", "its `dtype`: bf16, f16, f32, fp8, mxfp4 or nvfp4 (default bf16)", func(s string) (err error) {
		o.dtype, err = model.ParseDtype(s)
		return err
	})
	flag.Func("rates", "gigabits a second, with commas between; 0 is no limit (default 1,5,10,0)", func(s string) error {
		o.rates = nil
		for f := range strings.SplitSeq(s, ",") {
			r, err := strconv.ParseFloat(f, 64)
			if err != nil || r < 0 {
				return fmt.Errorf("%q is no rate", f)
			}
			o.rates = append(o.rates, r)
		}
		return nil
	})
	flag.StringVar(&o.memory, "memory", "/dev/shm", "a `directory` in memory, for the model and to pull into; empty: none")
	flag.StringVar(&o.disk, "disk", os.TempDir(), "a `directory` on a disk, to pull into; empty: none")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured: the least time counts")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.memory == "" && o.disk == "" {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.memory, "oras-bsm-transfer-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := harness.Build(ctx, dir, harness.Tool); err != nil {
		return err
	}
	b := &bench{tool: filepath.Join(dir, "oras-bsm"), model: filepath.Join(dir, "model"), home: dir, rounds: o.rounds}
	if err := model.Generate(b.model, model.Options{Size: int64(o.size), Dtype: o.dtype}); err != nil {
		return err
	}
	store := filepath.Join(dir, "store")
	if _, err := b.run(ctx, b.tool, "push", "--quiet", "oci:"+store+":v1", b.model); err != nil {
		return err
	}
	b.server = newServer()
	defer b.server.close()
	if err := errors.Join(b.server.addStore("model", store), b.server.addFiles("files", b.model)); err != nil {
		return err
	}
	if b.size, err = sizeOf(b.model); err != nil {
		return err
	}
	for _, sink := range []struct{ name, dir string }{{"memory", o.memory}, {"disk", o.disk}} {
		if sink.dir == "" {
			continue
		}
		for _, rate := range o.rates {
			if err := b.measure(ctx, sink.name, sink.dir, rate); err != nil {
				return err
			}
		}
	}
	return b.print(os.Stdout)
}
