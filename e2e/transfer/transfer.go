package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// bench is one run of this program.
type bench struct {
	options
	link  *link
	bin   string // the directory of oras-bsm
	model string // the directory of the model
	ref   string // the model in the registry, through the link
	raw   raw
}

// raw is the model in the registry as it is: a blob for each file.
type raw struct {
	ref  string
	urls []string
}

// A client fetches the model into a directory that is not there yet.
type client struct {
	name string
	args func(b *bench, dir string) []string
	raw  bool // it fetches the raw model
}

var clients = []client{
	{"oras-bsm", func(b *bench, dir string) []string {
		return []string{filepath.Join(b.bin, "oras-bsm"), "pull", "--quiet", b.ref, "-o", dir}
	}, false},
	{"curl", func(b *bench, dir string) []string {
		args := []string{"curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "8", "--create-dirs"}
		for i, u := range b.raw.urls {
			args = append(args, "-o", filepath.Join(dir, strconv.Itoa(i)), u)
		}
		return args
	}, true},
	{"skopeo", func(b *bench, dir string) []string {
		return []string{"skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "docker://" + b.raw.ref, "dir:" + dir}
	}, true},
}

func run(ctx context.Context, o options) (err error) {
	if !registry.Installed() {
		return errors.New(registry.Program + " is not installed")
	}
	dir, err := os.MkdirTemp(memory(), "transfer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Setenv("TMPDIR", dir); err != nil { // the registry's blobs and our spool
		return err
	}
	s, err := registry.Start(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	l, err := newLink(s.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	b := &bench{options: o, link: l, bin: dir, model: filepath.Join(dir, "model"), ref: l.Addr().String() + "/org/model:v1"}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	return b.measure(ctx, dir)
}

// memory is a directory in memory, if there is one.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// prepare makes the model and stores it in both ways.
func (b *bench) prepare(ctx context.Context) error {
	if err := harness.Build(ctx, b.bin, harness.Tool); err != nil {
		return err
	}
	if err := model.Generate(b.model, model.Options{Size: int64(b.size)}); err != nil {
		return err
	}
	r, err := harness.Run(exec.CommandContext(ctx, filepath.Join(b.bin, "oras-bsm"), "push", "--quiet", b.ref, b.model))
	if err == nil && r.Code != 0 {
		err = errors.New(r.Stderr)
	}
	if err != nil {
		return fmt.Errorf("pushing the model: %w", err)
	}
	if err := b.pushRaw(ctx); err != nil {
		return fmt.Errorf("pushing the raw model: %w", err)
	}
	return nil
}

// pushRaw stores an artifact of which each layer is a file of the model.
func (b *bench) pushRaw(ctx context.Context) error {
	const repo = "org/raw"
	base := "http://" + b.link.Addr().String() + "/v2/" + repo
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/octet-stream", Config: ocispec.DescriptorEmptyJSON,
	}
	manifest.Config.Data = nil
	files, err := filepath.Glob(filepath.Join(b.model, "*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		d, err := putBlob(ctx, base, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		d.Annotations = map[string]string{ocispec.AnnotationTitle: filepath.Base(name)}
		manifest.Layers = append(manifest.Layers, d)
		b.raw.urls = append(b.raw.urls, base+"/blobs/"+d.Digest.String())
	}
	if _, err := putBlob(ctx, base, bytes.NewReader(ocispec.DescriptorEmptyJSON.Data)); err != nil {
		return err
	}
	doc, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	b.raw.ref = b.link.Addr().String() + "/" + repo + ":v1"
	_, err = send(ctx, http.MethodPut, base+"/manifests/v1", manifest.MediaType, bytes.NewReader(doc))
	return err
}

// putBlob stores what is in r.
func putBlob(ctx context.Context, base string, r io.ReadSeeker) (d ocispec.Descriptor, err error) {
	d.MediaType = "application/octet-stream"
	if d.Digest, err = digest.FromReader(r); err != nil {
		return d, err
	}
	if d.Size, err = r.Seek(0, io.SeekCurrent); err != nil {
		return d, err
	}
	if _, err = r.Seek(0, io.SeekStart); err != nil {
		return d, err
	}
	location, err := send(ctx, http.MethodPost, base+"/blobs/uploads/", "", http.NoBody)
	if err != nil {
		return d, err
	}
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	_, err = send(ctx, http.MethodPut, location+sep+"digest="+d.Digest.String(), d.MediaType, io.NopCloser(r))
	return d, err
}

// send sends a request and returns the Location of the answer.
func send(ctx context.Context, method, url, contentType string, body io.Reader) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return resp.Header.Get("Location"), nil
}

// cost is what fetching the model once took.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes resident
}

// measure prints the table.
func (b *bench) measure(ctx context.Context, tmpfs string) error {
	fmt.Printf("%s of BF16 weights; medians of %d; CPU time and memory are the client's alone.\n\n", humanSize(b.size), b.runs)
	fmt.Print("| link | sink | client | seconds | of the best raw | core-seconds per GB | MiB resident |\n|---|---|---|--:|--:|--:|--:|\n")
	for _, gbits := range b.rates {
		b.link.setRate(gbits)
		for _, sink := range []struct{ name, dir string }{{"memory", tmpfs}, {"disk", b.disk}} {
			if err := b.row(ctx, gbits, sink.name, sink.dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// row measures all clients over one link into one sink.
func (b *bench) row(ctx context.Context, gbits float64, sink, dir string) error {
	costs := map[string]cost{}
	best := time.Duration(0)
	for _, c := range clients {
		if _, err := exec.LookPath(c.args(b, dir)[0]); err != nil {
			continue
		}
		var all []cost
		for range b.runs {
			one, err := b.fetch(ctx, c, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			all = append(all, one)
		}
		slices.SortFunc(all, func(a, b cost) int { return int(a.wall - b.wall) })
		m := all[len(all)/2]
		costs[c.name] = m
		if c.raw && (best == 0 || m.wall < best) {
			best = m.wall
		}
	}
	rate := "no limit"
	if gbits > 0 {
		rate = fmt.Sprintf("%g Gb/s", gbits)
	}
	for _, c := range clients {
		m, ok := costs[c.name]
		if !ok {
			continue
		}
		fmt.Printf("| %s | %s | %s | %.2f | %.2f | %.2f | %d |\n", rate, sink, c.name, m.wall.Seconds(),
			m.wall.Seconds()/best.Seconds(), m.cpu.Seconds()/(float64(b.size)/1e9), m.peak>>20)
	}
	return nil
}

// fetch runs a client once, and compares what ours wrote.
func (b *bench) fetch(ctx context.Context, c client, parent string) (_ cost, err error) {
	dir := filepath.Join(parent, "transfer-out")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args := c.args(b, dir)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	r, err := harness.Run(cmd)
	if err != nil {
		return cost{}, err
	}
	if r.Code != 0 {
		return cost{}, errors.New(r.Stderr)
	}
	if !c.raw {
		if err := harness.Compare(b.model, dir); err != nil {
			return cost{}, err
		}
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{r.Took, time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), r.Peak}, nil
}

// humanSize writes a size in the unit in which it is whole.
func humanSize(n uint64) string {
	if n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
