package registry

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestStart starts each kind of registry, finds it answering, stops it and finds
// nothing left of it.
func TestStart(t *testing.T) {
	for name, o := range map[string]*Options{
		"default":    nil,
		"in process": {InProcess: true},
		"https":      {TLS: true},
		"users":      {Htpasswd: "user:$2a$05$qw33rAi69MnyMPOYmTM8audvGaU3hwqa6DNZAXVP5c9y75dSVcuV6\n"},
	} {
		t.Run(name, func(t *testing.T) {
			real := o != nil && (o.TLS || o.Htpasswd != "")
			if real && !Installed() {
				if _, err := Start(t.Context(), o); err == nil {
					t.Fatal("the stand-in started with options that it does not have")
				}
				t.Skip(Program + " is not installed")
			}
			s, err := Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s on %s", s.Name, s.Addr)
			if want := Installed() && (o == nil || !o.InProcess); s.Real != want {
				t.Errorf("Real = %v, want %v", s.Real, want)
			}
			if host, _, err := net.SplitHostPort(s.Addr); err != nil || !net.ParseIP(host).IsLoopback() {
				t.Errorf("listens on %s, which is not the loopback interface", s.Addr)
			}
			if o == nil || !o.TLS {
				if err := ping(t.Context(), http.DefaultClient, "http://"+s.Addr+"/v2/"); err != nil {
					t.Error(err)
				}
			} else if _, err := os.Stat(s.CA); err != nil {
				t.Error(err)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
				t.Error("somebody answers after Stop")
			}
			if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("files are left: %v", err)
			}
		})
	}
}

// TestStartFails proves that a registry that cannot start is an error and leaves
// no process and no files.
func TestStartFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("TMPDIR", t.TempDir())
	if Installed() {
		if _, err := Start(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Start with a context that has ended: %v", err)
		}
	}
	if _, err := Start(ctx, &Options{TLS: true, InProcess: true}); err == nil {
		t.Error("the stand-in started with TLS")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
