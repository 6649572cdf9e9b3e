// Command demo pushes, inspects, verifies and pulls models with a local
// registry, an OCI layout and an archive, compares every byte that comes back,
// and prints how far and how fast that went.
//
//	go run ./e2e/demo -size 256MiB
//
// The models are generated ones of every dtype and, where there are any, the
// safetensors files of a directory. The registry is Debian's docker-registry,
// which is installed where that is missing and possible; otherwise a stand-in
// inside this program. The exit code is 1 when anything differs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// options are the flags.
type options struct {
	size    uint64
	dtype   model.Dtype
	keep    string
	weights string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parse())
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted") // which ends what runs, too
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// parse reads the command line. Where it makes no sense, the program ends.
func parse() options {
	o := options{size: 256 << 20, dtype: model.DtypeBF16}
	flag.Func("size", "bytes of the generated `model` (default 256MiB)", func(s string) (err error) {
		o.size, err = humanize.ParseBytes(s)
		return err
	})
	flag.Func("dtype", "its `dtype`: bf16, f16, f32, fp8, mxfp4 or nvfp4 (default bf16)", func(s string) (err error) {
		o.dtype, err = model.ParseDtype(s)
		return err
	})
	flag.StringVar(&o.keep, "keep", "", "a new `directory` for all files, which are kept (default: a temporary one)")
	flag.StringVar(&o.weights, "weights", "../shared/weights", "a `directory` of safetensors files, each taken for a model; none is fine")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

func run(ctx context.Context, o options) error {
	dir, done, err := workspace(o.keep)
	if err != nil {
		return err
	}
	defer done()
	say("build    the tool and the generator")
	if err := harness.Build(ctx, dir, harness.Tool, harness.Genmodel); err != nil {
		return err
	}
	if !registry.Installed() {
		install(ctx)
	}
	server, err := registry.Start(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "demo: stopping the registry:", err)
		}
	}()
	say("registry %s on %s", server.Name, server.Addr)
	d := &demo{dir: dir, registry: server.Addr, keep: o.keep != ""}
	if err := d.all(ctx, o); err != nil {
		return err
	}
	d.print(os.Stdout)
	return nil
}

// workspace makes the directory for all files. The caller calls done.
func workspace(keep string) (dir string, done func(), err error) {
	if keep != "" {
		// Its bytes are to be those of this run.
		if err := os.Mkdir(keep, 0o755); err != nil {
			return "", nil, err
		}
		dir, err = filepath.Abs(keep)
		return dir, func() { say("kept     %s", dir) }, err
	}
	dir, err = os.MkdirTemp("", "oras-bsm-demo-*")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// say prints what is going on.
func say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
}
