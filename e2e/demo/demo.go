package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/go-json-experiment/json"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/oci"
)

// smallSize is the size of the generated models that are there for their dtype.
const smallSize = 32 << 20

// demo is a run of this program.
type demo struct {
	dir      string // for all files; the programs are there, too
	registry string // host:port
	keep     bool   // leave what was made
	rows     []row
}

// row is one model in one store. Times and memory are of whole processes.
type row struct {
	model, store       string
	report             oci.Report
	push, verify, pull *harness.Result
}

// all makes every row.
func (d *demo) all(ctx context.Context, o options) error {
	name := fmt.Sprintf("generated-%s", o.dtype)
	dir, err := d.generate(ctx, name, o.dtype, o.size)
	if err != nil {
		return err
	}
	for _, ref := range []string{
		d.registry + "/demo/" + name + ":v1",
		"oci:" + filepath.Join(d.dir, "layout") + ":v1",
		"oci-archive:" + filepath.Join(d.dir, "archive.tar") + ":v1",
	} {
		if err := d.trial(ctx, name, dir, ref); err != nil {
			return err
		}
	}
	if err := d.drop("layout", "archive.tar", "models"); err != nil {
		return err
	}
	for _, dtype := range []model.Dtype{
		model.DtypeF32, model.DtypeF16, model.DtypeBF16, model.DtypeFP8, model.DtypeMXFP4, model.DtypeNVFP4,
	} {
		if dtype == o.dtype {
			continue
		}
		if err := d.small(ctx, dtype); err != nil {
			return err
		}
	}
	return d.published(ctx, o.weights)
}

func (d *demo) small(ctx context.Context, dtype model.Dtype) error {
	name := fmt.Sprintf("generated-%s", dtype)
	dir, err := d.generate(ctx, name, dtype, smallSize)
	if err != nil {
		return err
	}
	if err := d.trial(ctx, name, dir, d.registry+"/demo/"+name+":v1"); err != nil {
		return err
	}
	return d.drop("models")
}

// published takes each safetensors file of a directory for a model.
func (d *demo) published(ctx context.Context, weights string) error {
	files, err := filepath.Glob(filepath.Join(weights, "*.safetensors"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		say("weights  none in %s", weights)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".safetensors")
		dir := filepath.Join(d.dir, "models", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(dir, "model.safetensors"), file); err != nil {
			return err
		}
		if err := d.trial(ctx, name, dir, d.registry+"/demo/"+strings.ToLower(name)+":v1"); err != nil {
			return err
		}
		if err := d.drop("models"); err != nil {
			return err
		}
	}
	return nil
}

// generate writes a model. A process of its own does it: what this one has used
// would count as used by the programs that it measures.
func (d *demo) generate(ctx context.Context, name string, dtype model.Dtype, size uint64) (string, error) {
	dir := filepath.Join(d.dir, "models", name)
	say("generate %s, %s", name, humanize.IBytes(size))
	cmd := exec.CommandContext(ctx, filepath.Join(d.dir, "genmodel"),
		"-o", dir, "-dtype", string(dtype), "-size", strconv.FormatUint(size, 10)+"B")
	_, err := succeed(cmd)
	return dir, err
}

// trial does everything with one model in one store. What comes back must be
// what was pushed.
func (d *demo) trial(ctx context.Context, name, dir, ref string) error {
	store, _, _ := strings.Cut(ref, ":")
	if !strings.HasPrefix(store, "oci") {
		store = "registry"
	}
	r := row{model: name, store: store}
	say("trial    %s, %s: push, inspect, verify, pull, compare", name, store)
	var err error
	if r.push, err = d.tool(ctx, "push", ref, dir); err != nil {
		return err
	}
	inspected, err := d.tool(ctx, "inspect", "--json", ref)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(inspected.Stdout), &r.report); err != nil {
		return fmt.Errorf("reading what inspect printed: %w", err)
	}
	if r.verify, err = d.tool(ctx, "verify", ref); err != nil {
		return err
	}
	out := filepath.Join(d.dir, "out")
	if r.pull, err = d.tool(ctx, "pull", "--verify", ref, "-o", out); err != nil {
		return err
	}
	if err := harness.Compare(dir, out); err != nil {
		return fmt.Errorf("%s through the %s: %w", name, store, err)
	}
	d.rows = append(d.rows, r)
	return os.RemoveAll(out)
}

// tool runs oras-bsm, which must succeed.
func (d *demo) tool(ctx context.Context, args ...string) (*harness.Result, error) {
	return succeed(exec.CommandContext(ctx, filepath.Join(d.dir, "oras-bsm"), append(args, "--quiet")...))
}

// succeed runs a program, which must exit with 0.
func succeed(cmd *exec.Cmd) (*harness.Result, error) {
	r, err := harness.Run(cmd)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("%s: exit code %d\n%s", strings.Join(cmd.Args, " "), r.Code, r.Stderr)
	}
	return r, err
}

// drop removes what is not needed any more, unless it is to be kept.
func (d *demo) drop(names ...string) error {
	if d.keep {
		return nil
	}
	var err error
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, name)))
	}
	return err
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
