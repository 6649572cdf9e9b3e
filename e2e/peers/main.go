// Command peers measures other compressors beside ours, on the same data and in
// the same run, one core each: zstd and lz4, the coders of klauspost/compress, and
// ZipNN, BigSmall and OpenZL where they are installed. It names those that are
// not.
//
//	go run ./e2e/peers -size 256MiB
//
// The data is a generated BF16 matrix and, where there are any, the safetensors
// files of a directory. Run it in the root of the project.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
)

func main() {
	size := uint64(64 << 20)
	flag.Func("size", "bytes of the generated `matrix`, 64MiB to 1GiB (default 64MiB)", func(s string) (err error) {
		if size, err = humanize.ParseBytes(s); err == nil && (size < 64<<20 || size > 1<<30) {
			err = errors.New("not from 64MiB to 1GiB")
		}
		return err
	})
	weights := flag.String("weights", "../shared/weights", "a `directory` of safetensors files; none is fine")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, int64(size), *weights)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer, size int64, weights string) (err error) {
	dir, err := os.MkdirTemp(memoryDir(), "peers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := filepath.Glob(filepath.Join(weights, "*.safetensors"))
	if err != nil {
		return err
	}
	var found []peer
	var missing []string
	for _, p := range peers {
		if err := p.find(ctx); err != nil {
			missing = append(missing, p.name+" ("+err.Error()+")")
		} else {
			found = append(found, p)
		}
	}
	matrix := filepath.Join(dir, "matrix.safetensors")
	if err := writeMatrix(matrix, size); err != nil {
		return err
	}
	_, _ = fmt.Fprint(stdout, "| data | coder | ratio | compress GB/s | decompress GB/s |\n|---|---|--:|--:|--:|\n")
	for _, file := range append([]string{matrix}, files...) {
		if err := measure(ctx, stdout, found, file, dir); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, `
Ratio: compressed over original size. GB: 10^9 original bytes. One core, in memory;
OpenZL and BigSmall read and write files, which are in memory where that can be had.
Ours decodes with the hash of every chunk. zstd -19 has the first %s only.
`, humanize.IBytes(slowSize))
	if len(missing) > 0 && err == nil {
		_, err = fmt.Fprintf(stdout, "Not here, and not measured: %s.\n", strings.Join(missing, ", "))
	}
	return err
}

// measure prints the rows of one file. A coder that fails has a row that says so.
func measure(ctx context.Context, stdout io.Writer, list []peer, file, dir string) error {
	d, err := newData(file, dir)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".safetensors") + ", " + d.dtype
	for _, p := range list {
		results, err := p.run(ctx, d)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			_, err = fmt.Fprintf(stdout, "| %s | %s | failed: %s | | |\n", name, p.name, strings.ReplaceAll(err.Error(), "\n", " "))
			if err != nil {
				return err
			}
		}
		for _, r := range results {
			_, err := fmt.Fprintf(stdout, "| %s | %s | %.4f | %.3g | %.3g |\n", name, r.name, r.ratio, r.compress, r.decompress)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// memoryDir is where temporary files are in memory, or "" where there is no such
// place.
func memoryDir() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}
