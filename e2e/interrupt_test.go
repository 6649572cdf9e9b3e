package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/oci"
)

// points is how many times a verb is interrupted with each signal.
const points = 8

// exitInterrupted is the exit code after SIGINT.
const exitInterrupted = 130

// signals are Ctrl-C, and an end without a last word.
var signals = map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGKILL": syscall.SIGKILL}

// interrupt runs oras-bsm and sends it a signal when somebody calls the trigger
// that arm is given. It reports whether that ended the program: one that is done
// by then, or all but done, ends well.
func (u *user) interrupt(sig syscall.Signal, arm func(trigger func()), args ...string) (stopped bool) {
	u.t.Helper()
	cmd := u.command("oras-bsm", append(args, "--quiet")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	started := make(chan struct{})
	arm(sync.OnceFunc(func() {
		<-started
		_ = cmd.Process.Signal(sig) // which may be gone by then
	}))
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	close(started)
	_ = cmd.Wait() // the exit code follows
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.ExitStatus() == 0:
		return false
	case sig == syscall.SIGINT && status.ExitStatus() == exitInterrupted:
	case status.Signaled() && status.Signal() == sig: // SIGINT before main listens does that, too
	default:
		u.t.Errorf("after %v: %v\n%s", sig, cmd.ProcessState, stderr.String())
	}
	if left, err := os.ReadDir(u.temp); err != nil || len(left) > 0 {
		u.t.Errorf("left in the directory for temporary files: %v, %v", left, err)
	}
	return true
}

// TestInterruptedPush ends pushes to a registry at requests drawn at random. The
// tag must not be there, or what it names must be whole, and the next push must
// succeed.
func TestInterruptedPush(t *testing.T) {
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	p := newProxy(t, s.Addr)
	var whole oci.PushResult
	u.query(&whole, "push", p.addr+"/org/whole:v1", dir)
	requests := p.requests.Load()
	stopped, tagged := 0, 0
	for name, sig := range signals {
		for i := range points {
			x := &wire{request: 1 + rand.N(requests), moment: moment(rand.IntN(3))}
			if i < 2 { // around the last request, which sets the tag
				x = &wire{request: requests, moment: []moment{before, after}[i]}
			}
			repo := fmt.Sprintf("org/%s-%d", strings.ToLower(name), i)
			t.Run(fmt.Sprintf("%s %v request %d of %d", name, x.moment, x.request, requests), func(t *testing.T) {
				u := &user{t: t, env: u.env, temp: u.temp}
				if u.interrupt(sig, func(trigger func()) { x.pull = trigger; p.arm(x) }, "push", p.addr+"/"+repo+":v1", dir) {
					stopped++
				}
				ref := s.Addr + "/" + repo + ":v1"
				if newClient(t, s.Addr, repo).status("v1") == http.StatusOK {
					tagged++
					u.tool("verify", ref)
				}
				var again oci.PushResult
				u.query(&again, "push", ref, dir)
				if again.Digest != whole.Digest {
					t.Errorf("the next push gives %s, want %s", again.Digest, whole.Digest)
				}
				u.pulls(ref, dir)
			})
		}
	}
	t.Logf("%d of %d pushes were ended, %d tags were there and whole", stopped, 2*points, tagged)
	if stopped < points || tagged == 0 {
		t.Error("too few were ended, or none had a tag: this proves nothing")
	}
}

// TestInterruptedPull ends pulls from a registry at requests drawn at random.
// What was in the target directory must be there as it was, and the next pull
// must succeed.
func TestInterruptedPull(t *testing.T) {
	s, u, dir := newRegistry(t, nil), newUser(t), newModel(t)
	p := newProxy(t, s.Addr)
	u.tool("push", s.Addr+"/org/model:v1", dir)
	ref := p.addr + "/org/model:v1"
	u.pulls(ref, dir)
	requests := p.requests.Load()
	old := oldFiles(t)
	stopped := 0
	for name, sig := range signals {
		for range points {
			x := &wire{request: 1 + rand.N(requests), moment: moment(rand.IntN(3))}
			t.Run(fmt.Sprintf("%s %v request %d of %d", name, x.moment, x.request, requests), func(t *testing.T) {
				u := &user{t: t, env: u.env, temp: u.temp}
				out := filepath.Join(t.TempDir(), "out")
				u.run("cp", "-a", old, out)
				if u.interrupt(sig, func(trigger func()) { x.pull = trigger; p.arm(x) }, "pull", ref, "-o", out) {
					stopped++
					if err := harness.Compare(old, u.withoutLeft(out)); err != nil {
						t.Errorf("the target has changed: %v", err)
					}
				}
				p.arm(nil)
				u.recovers(ref, out, dir)
			})
		}
	}
	t.Logf("%d of %d pulls were ended", stopped, 2*points)
	if stopped < points {
		t.Error("too few were ended: this proves nothing")
	}
}

// oldFiles returns a directory with a file that a pull replaces and one that it
// has nothing to do with.
func oldFiles(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "old")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "unrelated"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// leftover is what the directory that an ended pull leaves in its target begins
// with. The next pull goes on there.
const leftover = ".oras-bsm-"

// withoutLeft returns a copy of target without what an ended pull leaves there.
func (u *user) withoutLeft(target string) string {
	u.t.Helper()
	seen := filepath.Join(u.t.TempDir(), "seen")
	u.run("cp", "-a", target, seen)
	left, err := filepath.Glob(filepath.Join(seen, leftover+"*"))
	if err != nil {
		u.t.Fatal(err)
	}
	for _, name := range left {
		if err := os.RemoveAll(name); err != nil {
			u.t.Fatal(err)
		}
	}
	return seen
}

// recovers pulls into a target where a pull has been ended. It must hold what
// is in dir, the unrelated file that was there before, and nothing else.
func (u *user) recovers(ref, target, dir string) {
	u.t.Helper()
	u.tool("pull", ref, "-o", target)
	const unrelated = "unrelated"
	if a, err := os.ReadFile(filepath.Join(target, unrelated)); err != nil || string(a) != "old "+unrelated {
		u.t.Errorf("a file that was in %s is now %q, %v", target, a, err)
	}
	if err := os.Remove(filepath.Join(target, unrelated)); err != nil {
		u.t.Fatal(err)
	}
	if err := harness.Compare(dir, target); err != nil {
		u.t.Errorf("the next pull: %v", err)
	}
}

// TestInterruptedFiles ends pushes to a layout and to an archive, and pulls from
// them, at times drawn at random: here there are no requests to count, and a
// pull may be ended while it renames. Then each file must be the old or the new.
func TestInterruptedFiles(t *testing.T) {
	dir, old := newModel(t), oldFiles(t)
	for _, kind := range []string{"oci", "oci-archive"} {
		for name, sig := range signals {
			t.Run(kind+" "+name, func(t *testing.T) {
				u := newUser(t)
				whole := kind + ":" + filepath.Join(t.TempDir(), "whole") + ":v1"
				pushTime, digest := u.timed(whole, dir)
				pullTime := u.tool("pull", whole, "-o", t.TempDir()).Took
				for i := range points / 2 {
					ref := kind + ":" + filepath.Join(t.TempDir(), "part") + ":v1"
					u.interrupt(sig, within(pushTime), "push", ref, dir)
					u.wholeOrAbsent(ref)
					if _, again := u.timed(ref, dir); again != digest {
						t.Errorf("the next push gives %s, want %s", again, digest)
					}
					out := filepath.Join(t.TempDir(), fmt.Sprint("out", i))
					u.run("cp", "-a", old, out)
					u.interrupt(sig, within(pullTime), "pull", ref, "-o", out)
					eitherOr(t, out, old, dir)
					u.recovers(ref, out, dir)
				}
			})
		}
	}
}

// wholeOrAbsent checks what an ended push left: the model, no tag, or a directory
// that is not a layout yet.
func (u *user) wholeOrAbsent(ref string) {
	u.t.Helper()
	const (
		exitNotModel = 3
		exitNotFound = 4
	)
	r := u.try("verify", ref, "--quiet")
	switch r.Code {
	case 0, exitNotFound:
		return
	case exitNotModel:
		dir := strings.TrimSuffix(strings.TrimPrefix(ref, "oci:"), ":v1")
		if _, err := os.Stat(filepath.Join(dir, "oci-layout")); errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	u.t.Errorf("verify of what push left: exit code %d, %s", r.Code, r.Stderr)
}

// timed pushes dir and returns how long that took, and the digest.
func (u *user) timed(ref, dir string) (time.Duration, string) {
	u.t.Helper()
	start := time.Now()
	var r oci.PushResult
	u.query(&r, "push", ref, dir)
	return time.Since(start), r.Digest.String()
}

// within triggers at a time drawn at random.
func within(d time.Duration) func(func()) {
	return func(trigger func()) { time.AfterFunc(rand.N(d), trigger) }
}

// eitherOr checks that each file of target is as in old or as in dir.
func eitherOr(t *testing.T, target, old, dir string) {
	t.Helper()
	err := filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), leftover) {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(target, path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, from := range []string{old, dir} {
			want, err := os.ReadFile(filepath.Join(from, name))
			if err == nil && bytes.Equal(got, want) {
				return nil
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return fmt.Errorf("%s is neither the old file nor the new one", name)
	})
	if err != nil {
		t.Error(err)
	}
}
