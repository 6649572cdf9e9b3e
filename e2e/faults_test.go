package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
	"github.com/oras-bsm/oras-bsm/oci"
)

// The exit codes of oras-bsm help exit-codes.
const (
	exitFailure  = 1
	exitNotModel = 3
	exitRegistry = 4
	exitCorrupt  = 5
)

// hostile is one fault of a registry or of the way to it, and what is to come of
// it: a run that completes with the same bytes, or one that is refused.
type hostile struct {
	name      string       // the fault
	fault     func() fault // a new one, which counts from the start
	code      int          // the exit code: 0 completes
	says      string       // what standard error has then
	may       bool         // it may as well complete
	otherwise bool         // the exit code may be that of a registry or of corruption
	waits     bool         // for more than five seconds
	waste     int64        // bytes of blobs beyond what is needed, at most; 0: as many as there are
}

// budget is how long a run may take with a fault: only what hangs takes it.
const budget = 2 * time.Minute

// faults runs cases against one registry, and counts how they end.
type faults struct {
	dir      string // the model
	registry *registry.Server
	digest   string // of the model
	layers   map[string]bool
	need     int64 // bytes of blobs of a pull without faults

	mu        sync.Mutex
	cases     int
	completed int
	refused   int
	wasted    int64
}

func newFaults(t *testing.T) *faults {
	s := &faults{dir: newModel(t), registry: newRegistry(t, nil)}
	u := newUser(t)
	var pushed oci.PushResult
	u.query(&pushed, "push", s.registry.Addr+"/org/model:v1", s.dir)
	s.digest = pushed.Digest.String()
	s.layers = largeLayers(newClient(t, s.registry.Addr, "org/model"))
	f := newFront(t, s.registry.Addr, nil, nil)
	u.pulls(f.addr+"/org/model:v1", s.dir)
	s.need = f.sent.Load()
	return s
}

// largeLayers returns the digests of the layers that hold blocks.
func largeLayers(c *client) map[string]bool {
	var index ocispec.Index
	var m ocispec.Manifest
	c.manifest("v1", &index)
	c.manifest(index.Manifests[0].Digest.String(), &m)
	large := map[string]bool{}
	for _, d := range m.Layers {
		if d.Size > half {
			large[d.Digest.String()] = true
		}
	}
	return large
}

// half is less than any of these.
const half = 500_000

// TestFaults proves of each fault of a registry, of the network and of what is
// between that a run completes with equal bytes, or is refused in time with an
// exit code and a message that tell why; that a refused run leaves the files as
// they were; and that the next run, when all is well, completes.
func TestFaults(t *testing.T) {
	s := newFaults(t)
	t.Run("cases", func(t *testing.T) {
		s.each(t, "pull", readFaults, s.pull)
		s.each(t, "push", writeFaults, s.push)
		for verb, run := range map[string]func(*testing.T, *hostile){"verify": s.verify, "copy": s.copy, "save": s.save} {
			s.each(t, verb, alike(readFaults), run)
		}
		s.eachWorld(t)
		s.eachToxic(t)
	})
	t.Logf("%d faults: %d runs completed, %d were refused and completed when the fault was over; %s of blobs were sent in vain",
		s.cases, s.completed, s.refused, humanize.IBytes(uint64(s.wasted)))
}

// each runs cases, several at a time.
func (s *faults) each(t *testing.T, verb string, cases []hostile, run func(*testing.T, *hostile)) {
	for _, c := range cases {
		t.Run(verb+"/"+c.name, func(t *testing.T) {
			if c.waits {
				slow(t)
			}
			t.Parallel()
			run(t, &c)
		})
	}
}

// pull pulls over a fault.
func (s *faults) pull(t *testing.T, c *hostile) {
	f, u := newFront(t, s.registry.Addr, s.layers, c.fault()), newUser(t)
	s.pulls(u, c, f, f.addr+"/org/model:v1", func() { f.arm(nil) })
}

// pulls pulls ref, which passes f, into a directory that is not empty. The fault
// ends when over is called.
func (s *faults) pulls(u *user, c *hostile, f *front, ref string, over func()) {
	t := u.t
	t.Helper()
	old, out := oldFiles(t), filepath.Join(t.TempDir(), "out")
	u.run("cp", "-a", old, out)
	r := u.attempt(c, "pull", ref, "-o", out)
	if r.Code != 0 {
		if err := harness.Compare(old, u.withoutLeft(out)); err != nil {
			t.Errorf("the target has changed: %v", err)
		}
		over()
		u.tool("pull", ref, "-o", out)
	}
	if err := os.Remove(filepath.Join(out, "unrelated")); err != nil {
		t.Errorf("a file that was in the target: %v", err)
	}
	if err := harness.Compare(s.dir, out); err != nil {
		t.Error(err)
	}
	s.count(t, c, r, f.sent.Load()-s.need)
}

// alike returns the cases for verbs that meet them as pull does, but may tell of them
// in other words; and whose runs take minutes, all of them.
func alike(cases []hostile) []hostile {
	cases = slices.Clone(cases)
	for i := range cases {
		c := &cases[i]
		c.waits, c.waste, c.says = true, 0, ""
		c.may, c.otherwise = c.may || c.code != 0, c.code != 0
	}
	return cases
}

// verify verifies over a fault.
func (s *faults) verify(t *testing.T, c *hostile) {
	f, u := newFront(t, s.registry.Addr, s.layers, c.fault()), newUser(t)
	r := u.attempt(c, "verify", f.addr+"/org/model:v1")
	if r.Code != 0 {
		f.arm(nil)
		u.tool("verify", f.addr+"/org/model:v1")
	}
	s.count(t, c, r, 0)
}

// copy copies over a fault, into a layout.
func (s *faults) copy(t *testing.T, c *hostile) {
	layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":v1"
	s.moves(t, c, layout, func(from string) []string { return []string{"copy", from, layout} })
}

// save saves over a fault.
func (s *faults) save(t *testing.T, c *hostile) {
	file := filepath.Join(t.TempDir(), "tar")
	s.moves(t, c, "oci-archive:"+file+":v1", func(from string) []string { return []string{"save", from, file} })
}

// moves runs a command line that makes ref.
func (s *faults) moves(t *testing.T, c *hostile, ref string, args func(from string) []string) {
	f, u := newFront(t, s.registry.Addr, s.layers, c.fault()), newUser(t)
	line := args(f.addr + "/org/model:v1")
	r := u.attempt(c, line...)
	if r.Code != 0 {
		u.wholeOrAbsent(ref)
		f.arm(nil)
		u.tool(line...)
	}
	u.pulls(ref, s.dir)
	s.count(t, c, r, f.sent.Load()-s.need)
}

// push pushes over a fault, into a repository of its own.
func (s *faults) push(t *testing.T, c *hostile) {
	f, u := newFront(t, s.registry.Addr, s.layers, c.fault()), newUser(t)
	s.pushes(u, c, f, f.addr, func() { f.arm(nil) })
}

// pushes pushes to the registry at addr, by way of f. The fault ends when over is
// called.
func (s *faults) pushes(u *user, c *hostile, f *front, addr string, over func()) {
	t := u.t
	t.Helper()
	repo := "org/" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(c.name))
	r := u.attempt(c, "push", addr+"/"+repo+":v1", s.dir)
	direct := s.registry.Addr + "/" + repo + ":v1"
	if r.Code != 0 {
		if v := u.try("verify", direct, "--quiet"); v.Code != 0 && v.Code != exitRegistry {
			t.Errorf("what a refused push left: exit code %d, %s", v.Code, v.Stderr)
		}
		over()
		u.tool("push", addr+"/"+repo+":v1", s.dir)
	}
	u.tool("verify", direct)
	if got := newClient(t, s.registry.Addr, repo).digests("v1")[0]; got != s.digest {
		t.Errorf("the digest is %s, want %s", got, s.digest)
	}
	s.count(t, c, r, f.taken.Load()-s.need)
}

// attempt runs oras-bsm under a fault and checks how that ends.
func (u *user) attempt(c *hostile, args ...string) *harness.Result {
	u.t.Helper()
	cmd := u.command("oras-bsm", append(args, "--quiet")...)
	over := time.AfterFunc(budget, func() { _ = cmd.Process.Kill() })
	r, err := harness.Run(cmd)
	over.Stop()
	if err != nil {
		u.t.Fatal(err)
	}
	switch {
	case r.Code == 0 && (c.code == 0 || c.may):
	case c.otherwise && (r.Code == exitRegistry || r.Code == exitCorrupt):
	case r.Code != c.code:
		u.t.Errorf("exit code %d, want %d\n%s", r.Code, c.code, r.Stderr)
	case !strings.Contains(r.Stderr, c.says):
		u.t.Errorf("the error does not say %q:\n%s", c.says, r.Stderr)
	}
	if r.Code != 0 && (r.Stdout != "" || r.Stderr == "") {
		u.t.Errorf("standard output has %q, standard error %q", r.Stdout, r.Stderr)
	}
	if left, err := os.ReadDir(u.temp); err != nil || len(left) > 0 {
		u.t.Errorf("left in the directory for temporary files: %v, %v", left, err)
	}
	return r
}

// count adds a case that ended so.
func (s *faults) count(t *testing.T, c *hostile, r *harness.Result, wasted int64) {
	t.Helper()
	how := fmt.Sprintf("refused with exit code %d: %s", r.Code, strings.TrimSpace(r.Stderr))
	if r.Code == 0 {
		how = "completed"
	}
	t.Logf("%s, in %.1f s, %d bytes in vain", how, r.Took.Seconds(), wasted)
	if c.waste > 0 && wasted > c.waste {
		t.Errorf("%d bytes were sent in vain, want at most %d", wasted, c.waste)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases++
	s.wasted += max(wasted, 0)
	if r.Code == 0 {
		s.completed++
	} else {
		s.refused++
	}
}
