// Package e2e_test runs oras-bsm as its users do, against real registries and
// beside other clients. Tests whose programs are not installed skip and say
// what is missing; BSM_SLOW=1 adds those that take minutes.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oras-bsm/oras-bsm/e2e/harness"
	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/e2e/registry"
)

// binaries is the directory of the built program, for PATH.
var binaries string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if binaries, err = os.MkdirTemp("", "oras-bsm-e2e-*"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(binaries)
	if err := harness.Build(context.Background(), binaries, harness.Tool); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// readSources looks at the sources of the program. The go command repeats a
// test, rather than its result, when a file that a test has looked at has
// changed; of what the program is built from it knows nothing.
var readSources = sync.OnceValue(func() error {
	for _, dir := range []string{"cmd", "codec", "mediatypes", "oci", "snapshotter"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(_ string, _ fs.DirEntry, err error) error {
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_, err := os.Stat("../go.sum")
	return err
})

// patience is how long one run of a program may take: only what hangs takes it.
const patience = 5 * time.Minute

// user runs programs as a user with a home of their own.
type user struct {
	t     *testing.T
	env   []string
	temp  string // for temporary files
	stdin string
}

func newUser(t *testing.T) *user {
	t.Helper()
	if err := readSources(); err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, temp: t.TempDir()}
	home := t.TempDir()
	u.env = append(os.Environ(),
		"PATH="+binaries+string(os.PathListSeparator)+os.Getenv("PATH"),
		"HOME="+home, "DOCKER_CONFIG="+filepath.Join(home, "docker"), "XDG_RUNTIME_DIR="+home,
		"TMPDIR="+u.temp)
	return u
}

// with returns the same user with more in the environment.
func (u *user) with(env ...string) *user {
	v := *u
	v.env = append(append([]string{}, u.env...), env...)
	return &v
}

// command prepares a run of a program.
func (u *user) command(program string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(u.t.Context(), patience)
	u.t.Cleanup(cancel)
	if program == "oras-bsm" {
		program = filepath.Join(binaries, program)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = u.env
	if u.stdin != "" {
		cmd.Stdin = strings.NewReader(u.stdin)
	}
	return cmd
}

// try runs oras-bsm and returns how that ended.
func (u *user) try(args ...string) *harness.Result {
	u.t.Helper()
	r, err := harness.Run(u.command("oras-bsm", args...))
	if err != nil {
		u.t.Fatal(err)
	}
	return r
}

// run runs a program, which must succeed.
func (u *user) run(program string, args ...string) *harness.Result {
	u.t.Helper()
	r, err := harness.Run(u.command(program, args...))
	if err != nil {
		u.t.Fatal(err)
	}
	if r.Code != 0 {
		u.t.Fatalf("%s %s: exit code %d\n%s%s", program, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r
}

// tool runs oras-bsm, which must succeed.
func (u *user) tool(args ...string) *harness.Result {
	u.t.Helper()
	return u.run("oras-bsm", append(args, "--quiet")...)
}

// query runs oras-bsm, which must print one JSON document of exactly the fields
// of v.
func (u *user) query(v any, args ...string) {
	u.t.Helper()
	r := u.tool(append(args, "--json")...)
	if err := json.Unmarshal([]byte(r.Stdout), v, json.RejectUnknownMembers(true)); err != nil {
		u.t.Fatalf("oras-bsm %s: %v\n%s", strings.Join(args, " "), err, r.Stdout)
	}
}

// pulls checks that ref gives back what is in directory want.
func (u *user) pulls(ref, want string) {
	u.t.Helper()
	out := filepath.Join(u.t.TempDir(), "out")
	u.tool("pull", "--verify", ref, "-o", out)
	if err := harness.Compare(want, out); err != nil {
		u.t.Errorf("pull %s: %v", ref, err)
	}
	os.RemoveAll(out)
}

// newModel generates a model of a few megabytes and four blocks, with a tied
// head, a file in a subdirectory and one that can be run.
func newModel(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := model.Generate(dir, model.Options{Layers: 4, Hidden: 256, Shards: 3, Tied: true}); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"extra/notes.md": 0o644, "extra/run.sh": 0o755, "empty": 0o644} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.TrimPrefix(name, "empty")), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	return dir
}

// newRegistry starts a registry for the test: the real one where that is
// installed, or its stand-in.
func newRegistry(t *testing.T, o *registry.Options) *registry.Server {
	t.Helper()
	s, err := registry.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("registry: %s", s.Name)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// needs skips the test where a program is not installed.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
}
