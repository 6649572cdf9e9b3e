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
	junk  string // a layout of model where older was, in a directory
	old   string // a directory that is pulled into
	addr  string // of a registry that has model
}

func newPlay(t *testing.T) *play {
	t.Helper()
	p := &play{model: newModel(t), older: filepath.Join(t.TempDir(), "older"), had: t.TempDir(), junk: t.TempDir(), old: oldFiles(t), addr: newRegistry(t, nil).Addr}
	if err := model.Generate(p.older, model.Options{Layers: 4, Hidden: 256, Shards: 3, Tied: true, Seed: 2}); err != nil {
		t.Fatal(err)
	}
	u, d := newUser(t), t.TempDir()
	p.store, p.tar = "oci:"+filepath.Join(d, "layout")+":v1", "oci-archive:"+filepath.Join(d, "tar")+":v1"
	for _, ref := range []string{p.store, p.tar, p.addr + "/org/model:v1"} {
		u.tool("push", ref, p.model)
	}
	for _, ref := range []string{"oci:" + p.had + "/layout:v1", "oci-archive:" + p.had + "/tar:v1", "oci:" + p.junk + "/layout:v1"} {
		u.tool("push", ref, p.older)
	}
	u.tool("push", "oci:"+p.junk+"/layout:v1", p.model)
	return p
}

// stages returns all of them.
func (p *play) stages() []stage {
	remote := p.addr + "/org/model:v1"
	layout, tar := "oci:DIR/layout:v1", "oci-archive:DIR/tar:v1"
	return []stage{
		p.writes("push to a layout", layout, "push", layout, p.model),
		p.writes("push to an archive", tar, "push", tar, p.model),
		p.writes("push to a registry", p.addr+"/DIR:v1", "push", p.addr+"/DIR:v1", p.model),
		p.replaces("push to a layout over a tag", p.had, layout, "push", layout, p.model),
		p.replaces("push to an archive over another", p.had, tar, "push", tar, p.model),
		p.pulls("pull from a layout", p.store),
		p.pulls("pull from an archive", p.tar),
		p.pulls("pull from a registry", remote),
		p.writes("copy from a registry to a layout", layout, "copy", remote, layout),
		p.writes("copy from a layout to a registry", p.addr+"/DIR:v1", "copy", p.store, p.addr+"/DIR:v1"),
		p.replaces("copy to a layout over a tag", p.had, layout, "copy", remote, layout),
		p.writes("save", tar, "save", remote, "DIR/tar"),
		p.replaces("save over another archive", p.had, tar, "save", p.store, "DIR/tar"),
		p.writes("save in parts", tar, "save", "--split", "1MB", p.store, "DIR/tar"),
		p.writes("load to a layout", layout, "load", strings.TrimSuffix(strings.TrimPrefix(p.tar, "oci-archive:"), ":v1"), layout),
		p.replaces("gc", p.junk, layout, "gc", "oci:DIR/layout"),
		p.replaces("tag", p.junk, "oci:DIR/layout:v2", "tag", layout, "v2"),
	}
}

// writes is a stage that makes ref, which there was none of.
func (p *play) writes(name, ref string, args ...string) stage {
	return stage{
		name: name,
		args: func(d string) []string {
			in := slices.Clone(args)
			for i := range in {
				in[i] = inside(in[i], d)
			}
			return in
		},
		left:  func(u *user, d string) { u.wholeOrAbsent(inside(ref, d)) },
		check: func(u *user, d string) { u.pulls(inside(ref, d), p.model) },
	}
}

// replaces is a stage that changes what there was, copied from a directory: its
// tag v1 is whole at any time.
func (p *play) replaces(name, from, ref string, args ...string) stage {
	s := p.writes(name, ref, args...)
	s.set = func(u *user, d string) { u.run("cp", "-a", from+"/.", d) }
	s.left = func(u *user, d string) { u.tool("verify", strings.ReplaceAll(inside(ref, d), ":v2", ":v1")) }
	return s
}

// pulls is a stage that pulls into a directory where files are.
func (p *play) pulls(name, ref string) stage {
	return stage{
		name:  name,
		set:   func(u *user, d string) { u.run("cp", "-a", p.old, d+"/out") },
		args:  func(d string) []string { return []string{"pull", ref, "-o", d + "/out"} },
		left:  func(u *user, d string) { eitherOr(u.t, d+"/out", p.old, p.model) },
		check: func(u *user, d string) { u.holds(d+"/out", p.model) },
	}
}

// inside returns a reference in d: a path, or a repository of its name.
func inside(ref, d string) string {
	if strings.HasSuffix(ref, "/DIR:v1") {
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
// spool file that had not lost its name yet, which is empty, may be; and what a copy
// to a registry keeps for the next, in a directory.
func (u *user) nothingLeft() {
	u.t.Helper()
	left, err := os.ReadDir(u.temp)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, e := range left {
		if info, err := e.Info(); err != nil || !info.IsDir() && info.Size() > 0 {
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
const sample = 2

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
	picked = slices.Concat(rare, bytes)
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

// TestKilledPullGoesOn kills pulls when a part of the bytes has come. The next pull
// fetches what had not been written and checked: of what came in vain there is no
// more than what was on its way.
func TestKilledPullGoesOn(t *testing.T) {
	const (
		connections = 2
		onItsWay    = connections * (8 + 4) << 20 // a part of a blob, and the chunks of one that are decoded
	)
	dir := filepath.Join(t.TempDir(), "model")
	if err := model.Generate(dir, model.Options{Size: 96 << 20}); err != nil {
		t.Fatal(err)
	}
	s, u := newRegistry(t, nil), newUser(t)
	u.tool("push", s.Addr+"/org/model:v1", dir)
	f := newFront(t, s.Addr, nil, nil)
	ref := f.addr + "/org/model:v1"
	u.pulls(ref, dir)
	need := f.sent.Load()
	for _, part := range []float64{0.3, 0.6, 0.9} {
		f.sent.Store(0)
		out := filepath.Join(t.TempDir(), "out")
		cmd := u.command("oras-bsm", "pull", "--quiet", ref, "-o", out, "--connections", fmt.Sprint(connections), "--limit-rate", "60MB")
		kill := sync.OnceFunc(func() { _ = cmd.Process.Kill() })
		watch := time.NewTicker(time.Millisecond)
		done := make(chan struct{})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(done)
			_ = cmd.Wait() // the exit code follows
		}()
		for running := true; running; {
			select {
			case <-watch.C:
				if float64(f.sent.Load()) > part*float64(need) {
					kill()
				}
			case <-done:
				running = false
			}
		}
		watch.Stop()
		first := f.sent.Load()
		u.tool("pull", ref, "-o", out)
		again := f.sent.Load() - first
		t.Logf("killed after %d of %d bytes, the next pull fetched %d: %d in vain", first, need, again, first+again-need)
		if cmd.ProcessState.Success() {
			t.Error("the pull had ended: this proves nothing")
		}
		if first+again-need > onItsWay {
			t.Errorf("%d bytes were fetched in vain, want at most %d", first+again-need, onItsWay)
		}
		if err := harness.Compare(dir, out); err != nil {
			t.Error(err)
		}
	}
}
