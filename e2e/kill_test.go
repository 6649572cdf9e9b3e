//go:build linux

package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/e2e/trace"
)

// traced runs oras-bsm and decides about each of its calls that change files. Calls
// on its standard output and error do not count.
func (u *user) traced(at func(trace.Call) trace.Verdict, args ...string) *harness.Result {
	u.t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(u.t.TempDir(), "output"))
		if err != nil {
			u.t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	cmd := exec.Command(filepath.Join(binaries, "oras-bsm"), append(args, "--quiet")...)
	cmd.Env, cmd.Stdout, cmd.Stderr = u.env, files[0], files[1]
	start := time.Now()
	status, err := trace.Run(cmd, func(c trace.Call) trace.Verdict {
		switch {
		case time.Since(start) > budget:
			return trace.Verdict{Kill: true}
		case c.Path == files[0].Name(), c.Path == files[1].Name(), strings.HasPrefix(c.Path, "/proc/"):
			return trace.Verdict{}
		}
		return at(c)
	})
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		u.t.Skipf("tracing is not allowed here: %v", err)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	var said [2]string
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			u.t.Fatal(err)
		}
		said[i] = string(b)
	}
	return &harness.Result{Stdout: said[0], Stderr: said[1], Code: status.ExitStatus(), Took: time.Since(start)}
}

// killed runs oras-bsm and kills it at its k-th call, counted from 0. It reports
// whether there were as many.
func (u *user) killed(k int, args ...string) bool {
	u.t.Helper()
	n := -1
	r := u.traced(func(trace.Call) trace.Verdict {
		n++
		return trace.Verdict{Kill: n == k}
	}, args...)
	if r.Code > 0 {
		u.t.Errorf("exit code %d before call %d\n%s", r.Code, k, r.Stderr)
	}
	return r.Code < 0
}

// calls runs oras-bsm, which must succeed, and returns its calls.
func (u *user) calls(args ...string) (all []trace.Call) {
	u.t.Helper()
	r := u.traced(func(c trace.Call) trace.Verdict {
		all = append(all, c)
		return trace.Verdict{}
	}, args...)
	if r.Code != 0 {
		u.t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
	return all
}

// A stage is where a command line runs: a directory that is made anew for each run.
type stage struct {
	name  string
	args  func(d string) []string
	set   func(u *user, d string) // makes what is there before; nil: nothing
	left  func(u *user, d string) // checks what a run that failed left
	check func(u *user, d string) // checks what a run that succeeded left
}

// play is what the stages share.
type play struct {
	model string // a directory
	older string // the same with other weights, which has been pushed before
	store string // oci:DIR:v1 of model
	tar   string // oci-archive:FILE:v1 of model
	had   string // a layout and an archive of older, in a directory
	old   string // a directory that is pulled into
	addr  string // of a registry that has model and older
}

func newPlay(t *testing.T) *play {
	t.Helper()
	p := &play{model: newModel(t), older: filepath.Join(t.TempDir(), "older"), had: t.TempDir(), old: oldFiles(t), addr: newRegistry(t, nil).Addr}
	if err := model.Generate(p.older, model.Options{Layers: 4, Hidden: 256, Shards: 3, Tied: true, Seed: 2}); err != nil {
		t.Fatal(err)
	}
	u, d := newUser(t), t.TempDir()
	p.store, p.tar = "oci:"+filepath.Join(d, "layout")+":v1", "oci-archive:"+filepath.Join(d, "tar")+":v1"
	for _, ref := range []string{p.store, p.tar, p.addr + "/org/model:v1"} {
		u.tool("push", ref, p.model)
	}
	for _, ref := range []string{"oci:" + p.had + "/layout:v1", "oci-archive:" + p.had + "/tar:v1", p.addr + "/org/older:v1"} {
		u.tool("push", ref, p.older)
	}
	return p
}

// stages returns all of them.
func (p *play) stages() []stage {
	push := func(name, ref string) stage {
		return stage{
			name:  name,
			args:  func(d string) []string { return []string{"push", inside(ref, d), p.model} },
			left:  func(u *user, d string) { u.wholeOrAbsent(inside(ref, d)) },
			check: func(u *user, d string) { u.pulls(inside(ref, d), p.model) },
		}
	}
	over := func(name, ref string) stage {
		s := push(name, ref)
		s.set = func(u *user, d string) { u.run("cp", "-a", p.had+"/.", d) }
		s.left = func(u *user, d string) { u.tool("verify", inside(ref, d)) }
		return s
	}
	pull := func(name, ref string) stage {
		return stage{
			name:  name,
			set:   func(u *user, d string) { u.run("cp", "-a", p.old, d+"/out") },
			args:  func(d string) []string { return []string{"pull", ref, "-o", d + "/out"} },
			left:  func(u *user, d string) { eitherOr(u.t, d+"/out", p.old, p.model) },
			check: func(u *user, d string) { u.holds(d+"/out", p.model) },
		}
	}
	return []stage{
		push("push to a layout", "oci:DIR/layout:v1"),
		over("push to a layout over a tag", "oci:DIR/layout:v1"),
		push("push to an archive", "oci-archive:DIR/tar:v1"),
		over("push to an archive over another", "oci-archive:DIR/tar:v1"),
		push("push to a registry", p.addr+"/DIR:v1"),
		pull("pull from a layout", p.store),
		pull("pull from an archive", p.tar),
		pull("pull from a registry", p.addr+"/org/model:v1"),
	}
}

// inside returns a reference in d: a path, or a repository of its name.
func inside(ref, d string) string {
	if !strings.HasPrefix(ref, "oci") {
		d = fmt.Sprintf("org/%x", sha256.Sum256([]byte(d)))
	}
	return strings.ReplaceAll(ref, "DIR", d)
}

// holds checks that target holds what is in dir, the file that was there before
// and nothing else.
func (u *user) holds(target, dir string) {
	u.t.Helper()
	const unrelated = "unrelated"
	if a, err := os.ReadFile(filepath.Join(target, unrelated)); err != nil || string(a) != "old "+unrelated {
		u.t.Errorf("a file that was in %s is now %q, %v", target, a, err)
	}
	if err := os.Remove(filepath.Join(target, unrelated)); err != nil {
		u.t.Fatal(err)
	}
	if err := harness.Compare(dir, target); err != nil {
		u.t.Error(err)
	}
}

// nothingLeft checks that no bytes are left in the directory for temporary files. A
// spool file without its name yet, which is empty, may be.
func (u *user) nothingLeft() {
	u.t.Helper()
	left, err := os.ReadDir(u.temp)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, e := range left {
		if info, err := e.Info(); err != nil || info.Size() > 0 {
			u.t.Errorf("%s is left in the directory for temporary files, %v", e.Name(), err)
		}
	}
}

// fresh makes a directory for a run.
func (s *stage) fresh(u *user) string {
	d := u.t.TempDir()
	if s.set != nil {
		s.set(u, d)
	}
	return d
}

// sample is how many calls of a stage are tried without BSM_SLOW.
const sample = 4

// pick returns which calls to try: all of them with BSM_SLOW, or else some, few of
// which write bytes.
func pick(calls []trace.Call) (picked []int) {
	var rare, bytes []int
	for i, c := range calls {
		if c.Bytes() {
			bytes = append(bytes, i)
		} else {
			rare = append(rare, i)
		}
	}
	if os.Getenv("BSM_SLOW") == "" {
		rare, bytes = some(rare, sample-1), some(bytes, 1)
	}
	picked = append(rare, bytes...)
	slices.Sort(picked)
	return picked
}

// some returns n of all, at random.
func some(all []int, n int) []int {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// TestKilled kills each verb at the calls by which it changes files. What has a
// tag must be whole, files of a target must be the old or the new, and the next
// run must succeed.
func TestKilled(t *testing.T) {
	p := newPlay(t)
	var mu sync.Mutex
	killed, of := 0, 0
	t.Run("at", func(t *testing.T) {
		for _, s := range p.stages() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				calls := newUser(t).calls(s.args(s.fresh(newUser(t)))...)
				at, n := pick(calls), 0
				for _, k := range at {
					t.Run(fmt.Sprintf("call %d of %d, %s", k, len(calls), calls[k].Name), func(t *testing.T) {
						u := newUser(t)
						d := s.fresh(u)
						if u.killed(k, s.args(d)...) {
							n++
							s.left(u, d)
						}
						u.tool(s.args(d)...)
						s.check(u, d)
						u.nothingLeft()
					})
				}
				t.Logf("%d calls that change files, killed at %d of %d", len(calls), n, len(at))
				mu.Lock()
				defer mu.Unlock()
				killed, of = killed+n, of+len(at)
			})
		}
	})
	t.Logf("killed at %d of %d points: every tag was whole or absent, every next run completed", killed, of)
	if killed < of*3/4 {
		t.Error("too few were killed: this proves nothing")
	}
}
