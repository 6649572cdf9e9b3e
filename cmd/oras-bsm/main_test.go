package main

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/oras-bsm/oras-bsm/e2e/model"
	"github.com/oras-bsm/oras-bsm/oci"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"oras-bsm": main})
}

// TestScript runs testdata/script. Beside the usual commands scripts have
//
//	model DIR        write a small model of two shards and two blocks
//	flip FILE        change one byte in the middle of a file
//	largest DIR VAR  set VAR to the largest file below DIR
//	status N CMD...  run a command, which must exit with code N
//	digest VAR       set VAR to the digest in the JSON object on stdout
//	fields NAMES...  stdout must be one JSON object with these fields
//	serving DIR VAR  start oras-bsm serve, and set VAR to its HOST:PORT
//	stopped          end that with SIGTERM; its exit code must be 0
//	events NAMES...  stderr must be JSON events, these at least, and no text
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
			e.Defer(server.Close)
			e.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, "docker"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"model":   writeModel,
			"flip":    flip,
			"largest": largest,
			"status":  status,
			"digest":  setDigest,
			"fields":  fields,
			"serving": serving,
			"stopped": stopped,
			"events":  events,
		},
		RequireExplicitExec: true,
	})
}

func writeModel(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(model.Generate(ts.MkAbs(args[0]), model.Options{Layers: 2, Hidden: 64, Shards: 2, Tied: true}))
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.Chmod(name, 0o644))
	ts.Check(os.WriteFile(name, b, 0o644))
}

func largest(ts *testscript.TestScript, _ bool, args []string) {
	var most int64
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > most {
			most = info.Size()
			ts.Setenv(args[1], path)
		}
		return err
	}))
}

// status runs a command of which exactly one exit code is right.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func setDigest(ts *testscript.TestScript, _ bool, args []string) {
	var got struct {
		Digest string `json:"digest"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
	ts.Setenv(args[0], got.Digest)
}

func fields(ts *testscript.TestScript, _ bool, args []string) {
	var got map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got)) // refuses anything after the object
	if d := cmp.Diff(args, slices.Sorted(maps.Keys(got))); d != "" {
		ts.Fatalf("fields (-want +got):\n%s", d)
	}
}

// A server is oras-bsm serve, running beside a script.
type server struct {
	cmd    *exec.Cmd
	stderr strings.Builder
}

// servers are those of the running scripts.
var servers sync.Map // of *testscript.TestScript to *server

func serving(ts *testscript.TestScript, _ bool, args []string) {
	s := &server{cmd: exec.Command("oras-bsm", "serve", "--json", "--listen", "127.0.0.1:0", args[0])}
	s.cmd.Dir, s.cmd.Stderr = ts.Getenv("WORK"), &s.stderr
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { _ = s.cmd.Process.Kill() }) // ended already, unless the script failed
	servers.Store(ts, s)
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	var r oci.ServeResult
	ts.Check(json.Unmarshal([]byte(line), &r))
	ts.Setenv(args[1], r.Address)
}

func stopped(ts *testscript.TestScript, _ bool, _ []string) {
	v, _ := servers.LoadAndDelete(ts)
	s := v.(*server)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	if err := s.cmd.Wait(); err != nil || s.stderr.Len() > 0 {
		ts.Fatalf("the server ended with %v: %s", err, s.stderr.String())
	}
}

func events(ts *testscript.TestScript, _ bool, args []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		var e event
		ts.Check(json.Unmarshal([]byte(line), &e, json.RejectUnknownMembers(true)))
		seen[e.Event] = true
	}
	for _, name := range args {
		if !seen[name] {
			ts.Fatalf("no event %q", name)
		}
	}
}

// TestClosedStdout proves that a reader who leaves early changes no exit code:
// neither that of success nor that of a failure.
func TestClosedStdout(t *testing.T) {
	for args, want := range map[string]int{"help": 0, "version --json": 0, "inspect": exitUsage} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := exec.Command("oras-bsm", strings.Fields(args)...)
		cmd.Stdout = w
		_ = cmd.Run()
		w.Close()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: %v, want exit code %d", args, cmd.ProcessState, want)
		}
	}
}

// TestInterrupted sends SIGINT while a registry keeps the program waiting.
func TestInterrupted(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	var stderr strings.Builder
	cmd := exec.Command("oras-bsm", "verify", strings.TrimPrefix(server.URL, "http://")+"/org/model:v1")
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("%v, want exit code %d", cmd.ProcessState, exitInterrupted)
	}
	if want := "oras-bsm: interrupted\n"; stderr.String() != want {
		t.Errorf("standard error %q, want %q", stderr.String(), want)
	}
}
