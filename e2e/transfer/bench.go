package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
)

// bench measures clients of one server.
type bench struct {
	server *server
	tool   string // the program
	model  string // the directory that was pushed
	home   string // of the clients
	size   int64  // bytes of model
	rounds int
	rows   []row
}

// row is one measurement.
type row struct {
	sink, client string
	rate         float64 // gigabits a second; 0: no limit
	took, cpu    time.Duration
	best         time.Duration // of those that carry the files as they are
}

// A client fetches into a directory, which is new.
type client struct {
	name string
	raw  bool // it carries the files as they are
	args func(out string) []string
}

// clients returns those that are installed.
func (b *bench) clients() []client {
	addr := b.server.addr
	all := []client{
		{"skopeo", true, func(out string) []string {
			return []string{
				"skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--preserve-digests",
				"docker://" + addr + "/files:v1", "dir:" + out,
			}
		}},
		{"curl", true, func(out string) []string {
			args := []string{"curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "8", "--create-dirs"}
			for name, digest := range b.server.files {
				args = append(args, "-o", filepath.Join(out, name), "http://"+addr+"/v2/files/blobs/"+digest)
			}
			return args
		}},
		{"oras-bsm", false, func(out string) []string {
			return []string{b.tool, "pull", "--quiet", addr + "/model:v1", "-o", out}
		}},
	}
	var installed []client
	for _, c := range all {
		if _, err := exec.LookPath(c.args("")[0]); err != nil {
			fmt.Fprintln(os.Stderr, "transfer: not measured:", err)
			continue
		}
		installed = append(installed, c)
	}
	return installed
}

// measure has each client fetch into dir at a rate.
func (b *bench) measure(ctx context.Context, sink, dir string, rate float64) error {
	b.server.limit(rate * 1e9 / 8)
	best, from := time.Duration(0), len(b.rows)
	for _, c := range b.clients() {
		r := row{sink: sink, client: c.name, rate: rate}
		for range b.rounds {
			took, cpu, err := b.fetch(ctx, c, dir)
			if err != nil {
				return err
			}
			if r.took == 0 || took < r.took {
				r.took, r.cpu = took, cpu
			}
		}
		if c.raw && (best == 0 || r.took < best) {
			best = r.took
		}
		b.rows = append(b.rows, r)
	}
	for i := range b.rows[from:] {
		b.rows[from+i].best = best
	}
	return nil
}

// fetch runs a client once, and waits until its files are on the disk.
func (b *bench) fetch(ctx context.Context, c client, dir string) (took, cpu time.Duration, err error) {
	place, err := os.MkdirTemp(dir, "oras-bsm-transfer-out-*")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place)) }()
	if err := settle(place); err != nil {
		return 0, 0, err
	}
	out := filepath.Join(place, "out")
	start := time.Now()
	r, err := b.run(ctx, c.args(out)...)
	if err == nil {
		err = settle(place)
	}
	took = time.Since(start)
	if err != nil {
		return 0, 0, err
	}
	if c.raw {
		var size int64
		if size, err = sizeOf(out); err == nil && size < b.size {
			err = fmt.Errorf("%s has fetched %d bytes of %d", c.name, size, b.size)
		}
	} else {
		err = harness.Compare(b.model, out)
	}
	return took, r.CPU, err
}

// settle writes what is in memory of the file system of dir to its disk.
func settle(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// run runs a program that must succeed.
func (b *bench) run(ctx context.Context, args ...string) (*harness.Result, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_RUNTIME_DIR="+b.home, "NO_PROXY=127.0.0.1")
	r, err := harness.Run(cmd)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", strings.Join(args, " "), r.Code, r.Stderr)
	}
	return r, err
}

// sizeOf returns the bytes of all files below dir.
func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// print writes the table.
func (b *bench) print(w io.Writer) error {
	gb := float64(b.size) / 1e9
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "INTO\tGBIT/S\tCLIENT\tSECONDS\tGB/S\tTO THE BEST RAW\tCORE-SECONDS PER GB")
	for _, r := range b.rows {
		rate, ratio := "no limit", "-"
		if r.rate > 0 {
			rate = fmt.Sprint(r.rate)
		}
		if r.best > 0 {
			ratio = fmt.Sprintf("%.2f", r.took.Seconds()/r.best.Seconds())
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%.2f\t%.2f\t%s\t%.2f\n", r.sink, rate, r.client, r.took.Seconds(), gb/r.took.Seconds(), ratio, r.cpu.Seconds()/gb)
	}
	_, err := fmt.Fprintf(t, "\nA model of %.2f GB, the least of %d rounds, until the files are on the disk.\n", gb, b.rounds)
	return errors.Join(err, t.Flush())
}
