package oci

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A tally is a Progress that adds up phases and items.
type tally struct {
	mu     sync.Mutex
	phases []*tallied
}

type tallied struct {
	t           *tally
	name        string
	total, done int64
	parent      *tallied
	ended       bool
}

func (t *tally) Begin(phase string, total int64) Bar { return t.begin(nil, phase, total) }

func (t *tally) begin(parent *tallied, name string, total int64) *tallied {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &tallied{t: t, name: name, total: total, parent: parent}
	t.phases = append(t.phases, x)
	return x
}

func (x *tallied) Add(n int64) {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	for ; x != nil; x = x.parent {
		x.done += n
	}
}

func (x *tallied) Skip(n int64) { x.Add(n) }

func (x *tallied) Item(name string, total int64) Bar {
	return x.t.begin(x, x.name+": "+name, total)
}

func (x *tallied) End() {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	x.ended = true
}

// check fails for phases and items that did not come to their end.
func (t *tally) check(tt *testing.T, what string) {
	tt.Helper()
	if len(t.phases) == 0 {
		tt.Errorf("%s: no phases", what)
	}
	for _, x := range t.phases {
		if x.done != x.total || !x.ended {
			tt.Errorf("%s: %q: %d of %d bytes done, ended: %t", what, x.name, x.done, x.total, x.ended)
		}
	}
}

// Every phase of what succeeds ends with all its bytes done or skipped.
func TestProgressAddsUp(t *testing.T) {
	files := manyChunks(t)
	files["tokenizer.json"], files["empty"] = noise(5000, 3), nil
	ref, _ := pushLayout(t, files.write(t), nil)
	old := maps.Clone(files)
	changed := func(b []byte) []byte { b = append([]byte{}, b...); b[len(b)-1] ^= 1; return b }
	old["model.safetensors"], old["tokenizer.json"] = changed(old["model.safetensors"]), changed(old["tokenizer.json"])
	longer := maps.Clone(files)
	longer["config.json"], longer["model.safetensors"] = []byte("{ }"), append(changed(files["model.safetensors"]), 1)
	missing := maps.Clone(files)
	delete(missing, "model.safetensors")
	for name, before := range map[string]modelFiles{"new": {}, "same": files, "changed": old, "longer": longer, "missing": missing} {
		for _, s := range []Selection{{}, {Blocks: []BlockRange{{1, 2}}}, {Files: []string{"*.json"}}} {
			for _, verify := range []bool{false, true} {
				what := name + " " + s.String()
				target := before.write(t)
				if name != "new" {
					c := &tally{}
					if _, err := CheckFiles(t.Context(), ref, target, &Options{Progress: c}); err != nil {
						t.Fatal(err)
					}
					c.check(t, "check "+what)
				}
				p := &tally{}
				if _, err := Pull(t.Context(), ref, target, &PullOptions{Options: Options{Progress: p}, Selection: s, Verify: verify}); err != nil {
					t.Fatal(err)
				}
				p.check(t, "pull "+what)
			}
		}
	}
	// One that goes on.
	target := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Pull(ctx, ref, target, &PullOptions{Options: Options{Progress: at("checking", cancel)}}); err == nil {
		t.Fatal("it was not interrupted")
	}
	found, err := filepath.Glob(filepath.Join(target, workPrefix+"*", journalName))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := os.Truncate(found[0], 10*noteSize); err != nil {
		t.Fatal(err)
	}
	p := &tally{}
	if _, err := Pull(t.Context(), ref, target, &PullOptions{Options: Options{Progress: p}}); err != nil {
		t.Fatal(err)
	}
	p.check(t, "a pull that goes on")
	v := &tally{}
	if _, err := Verify(t.Context(), ref, &Options{Progress: v}); err != nil {
		t.Fatal(err)
	}
	v.check(t, "verify")
}
