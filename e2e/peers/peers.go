package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/oras-bsm/oras-bsm/codec"
	"github.com/oras-bsm/oras-bsm/oci"
)

// A peer is a compressor, or several by one author.
type peer struct {
	name string
	find func(ctx context.Context) error // nil if it is here
	run  func(ctx context.Context, d *data) ([]result, error)
}

// result is a row of the table.
type result struct {
	name                        string
	ratio, compress, decompress float64 // speeds in GB/s
}

var peers = []peer{
	{"oras-bsm", func(context.Context) error { return nil }, ours},
	{"zstd", program("zstd"), builtinBench("zstd", []string{"-b1", "-b3"}, []string{"-b19"}, "-i1", "--single-thread", "-q")},
	{"lz4", program("lz4"), builtinBench("lz4", []string{"-b1"}, nil, "-i1")},
	{"klauspost/compress", program("go"), klauspost},
	{"ZipNN", module("zipnn"), python("ZipNN", zipnnScript)},
	{"BigSmall", module("bigsmall"), python("BigSmall", bigsmallScript)},
	{"OpenZL", program("zli"), openzl},
}

// ours measures both levels on all tensors of the file.
func ours(ctx context.Context, d *data) (list []result, err error) {
	rows, err := oci.Bench(ctx, d.file, &oci.BenchOptions{Sample: oci.MaxSample})
	if err != nil {
		return nil, err
	}
	for _, level := range []codec.Level{codec.Default, codec.Max} {
		r := result{name: "oras-bsm " + level.String() + " (" + codec.Implementations()[0] + ")"}
		var decoded, encoded, encode, decode, memcpy float64
		for _, x := range rows {
			if x.Level != level.String() || x.Dtype == codec.Bytes.String() { // the header is nothing that others have
				continue
			}
			n := float64(x.Decoded)
			decoded, encoded = decoded+n, encoded+float64(x.Encoded)
			encode, decode, memcpy = encode+n/x.Encode, decode+n/x.Decode, memcpy+n/x.Memcpy
		}
		if decoded == 0 {
			return nil, errors.New("no tensors of a known dtype")
		}
		r.ratio, r.compress, r.decompress = encoded/decoded, decoded/encode, decoded/decode
		if list = append(list, r); level == codec.Max {
			list = append(list, result{"memcpy", 1, decoded / memcpy, decoded / memcpy})
		}
	}
	return list, nil
}

// program looks for a program.
func program(name string) func(context.Context) error {
	return func(context.Context) error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("no program %s", name)
		}
		return nil
	}
}

// module looks for a module of Python.
func module(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := exec.CommandContext(ctx, "python3", "-c", "import "+name).Run(); err != nil {
			return fmt.Errorf("no module %s for python3", name)
		}
		return nil
	}
}

// timeLimit bounds every command.
const timeLimit = 2 * time.Minute

// output runs a command and returns what it wrote.
func output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s took more than %v", name, timeLimit)
		}
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(errs.Bytes()))
	}
	return append(out.Bytes(), errs.Bytes()...), nil
}

// builtinBench has zstd or lz4 measure itself, in memory: fast levels on all the
// data, slow ones on its head.
func builtinBench(name string, fast, slow []string, args ...string) func(context.Context, *data) ([]result, error) {
	return func(ctx context.Context, d *data) (list []result, err error) {
		for i, level := range append(append([]string{}, fast...), slow...) {
			file, size := d.raw, d.size
			if i >= len(fast) {
				file, size = d.head, min(d.size, slowSize)
			}
			end := strings.Replace(level, "-b", "-e", 1)
			out, err := output(ctx, nil, name, append([]string{level, end, file}, args...)...)
			if err != nil {
				return list, err
			}
			r, err := parseBench(out, size)
			if err != nil {
				return list, fmt.Errorf("%s: %w", name, err)
			}
			r.name = name + " " + strings.Replace(level, "b", "", 1)
			list = append(list, r)
		}
		return list, nil
	}
}

// benchLine matches what zstd and lz4 say of a finished measurement: the
// compressed size, the ratio, and MB/s both ways.
var benchLine = regexp.MustCompile(`(\d+) \(x?[\d.]+\)\s*,?\s*([\d.]+)\s*MB/s\s*,?\s*([\d.]+)\s*MB/s`)

// parseBench reads what zstd or lz4 measured with size bytes. They draw over
// what they wrote before: the last is right.
func parseBench(out []byte, size int64) (r result, err error) {
	all := benchLine.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return r, fmt.Errorf("no speeds in %q", out)
	}
	var v [3]float64
	for i := range v {
		if v[i], err = strconv.ParseFloat(string(all[len(all)-1][i+1]), 64); err != nil {
			return r, err
		}
	}
	return result{ratio: v[0] / float64(size), compress: v[1] / 1000, decompress: v[2] / 1000}, nil
}

// klauspost runs the benchmark in package codec, which alone may import those
// coders.
func klauspost(ctx context.Context, d *data) ([]result, error) {
	env := []string{"BSM_PEERS_FILE=" + d.raw, "BSM_PEERS_WIDTH=" + strconv.Itoa(d.width), "GOMAXPROCS=1"}
	out, err := output(ctx, env, "go", "test", "-run", "^$", "-bench", "^BenchmarkPeers$", "-benchtime", "0.5s", "./codec")
	if err != nil {
		return nil, err
	}
	return parseGoBench(out)
}

var goBenchLine = regexp.MustCompile(`(?m)^BenchmarkPeers/peer=(\S+)/op=(encode|decode)\S*\s.*?([\d.]+) MB/s\s+([\d.]+) ratio`)

func parseGoBench(out []byte) (list []result, err error) {
	for _, m := range goBenchLine.FindAllSubmatch(out, -1) {
		name := string(m[1])
		if n := len(list); n == 0 || list[n-1].name != name {
			list = append(list, result{name: name})
		}
		r := &list[len(list)-1]
		speed, err := strconv.ParseFloat(string(m[3]), 64)
		if err != nil {
			return nil, err
		}
		if r.ratio, err = strconv.ParseFloat(string(m[4]), 64); err != nil {
			return nil, err
		}
		if string(m[2]) == "encode" {
			r.compress = speed / 1000
		} else {
			r.decompress = speed / 1000
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no benchmarks in %q", out)
	}
	return list, nil
}

// openzl runs the program of OpenZL on files, with the profile for numbers of the
// width of an element.
func openzl(ctx context.Context, d *data) ([]result, error) {
	profile := map[int]string{1: "serial", 2: "le-u16", 4: "le-u32", 8: "le-u64"}[d.width]
	packed, back := d.raw+".zl", d.raw+".out"
	defer func() { _ = errors.Join(os.Remove(packed), os.Remove(back)) }()
	start := time.Now()
	if _, err := output(ctx, nil, "zli", "compress", "--profile", profile, d.raw, "--output", packed); err != nil {
		return nil, err
	}
	compress := time.Since(start)
	start = time.Now()
	if _, err := output(ctx, nil, "zli", "decompress", packed, "--output", back); err != nil {
		return nil, err
	}
	decompress := time.Since(start)
	info, err := os.Stat(packed)
	if err != nil {
		return nil, err
	}
	if err := sameFiles(d.raw, back); err != nil {
		return nil, err
	}
	n := float64(d.size)
	return []result{{"OpenZL " + profile, float64(info.Size()) / n, n / float64(compress.Nanoseconds()), n / float64(decompress.Nanoseconds())}}, nil
}

func sameFiles(a, b string) error {
	x, err := os.ReadFile(a)
	if err != nil {
		return err
	}
	y, err := os.ReadFile(b)
	if err == nil && !bytes.Equal(x, y) {
		err = fmt.Errorf("other bytes came back than those of %s", filepath.Base(a))
	}
	return err
}
