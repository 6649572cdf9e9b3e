package oci

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestCapabilities asks only whom hosts.toml trusts with it.
func TestCapabilities(t *testing.T) {
	m, stale := newModel(t, 84), newModel(t, 85)
	mirror, seen := watched(t, nil)
	stale.publish(t, mirror.ref(t))
	m.put(t, mirror.target(t))
	server, log := watched(t, nil)
	m.publish(t, server.ref(t))
	pullOnly := fmt.Sprintf("[host.\"http://%s\"]\ncapabilities = ['pull']\n", mirror.host)

	before := len(seen.all())
	readAll(t, openMirrored(t, server.ref(t), pullOnly, StoreOptions{}), m)
	asked := seen.all()[before:]
	if len(asked) < 7 || slices.ContainsFunc(asked, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/v1") }) {
		t.Errorf("the mirror was asked for %v", asked)
	}
	before = len(log.all())
	byDigest := parseRef(t, server.host+"/org/model@"+m.index.Digest.String())
	readAll(t, openMirrored(t, byDigest, pullOnly, StoreOptions{}), m)
	if n := len(log.all()) - before; n != 0 {
		t.Errorf("by digest the registry is asked %d times", n)
	}
	nobody := fmt.Sprintf("server = 'http://%s'\ncapabilities = ['push']\n", server.host)
	if _, err := openRegistrySource(t.Context(), server.ref(t), &StoreOptions{HostsDir: hostsDir(t, server.host, nobody)}, hasty); !errors.Is(err, errNoEndpoint) {
		t.Errorf("nobody may be read: %v", err)
	}
	src := openMirrored(t, server.ref(t), fmt.Sprintf("server = 'http://%s'\ncapabilities = ['pull']\n", server.host), StoreOptions{})
	if _, err := src.Resolve(t.Context()); !errors.Is(err, errNoEndpoint) {
		t.Errorf("nobody may resolve: %v", err)
	}
}

// TestPushGoesTo sends what is written to the first host that may have it.
func TestPushGoesTo(t *testing.T) {
	m := newModel(t, 87)
	for _, tt := range []struct{ name, file, want string }{
		{"the registry", "[host.'http://MIRROR']\ncapabilities = ['pull', 'resolve']", "SERVER"},
		{"a mirror that may", "[host.'http://MIRROR']\ncapabilities = ['pull', 'push']", "MIRROR"},
		{"a mirror that may do all", "[host.'http://MIRROR']", "MIRROR"},
		{"nobody", "server = 'http://SERVER'\ncapabilities = ['pull']", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mirror, _ := watched(t, nil)
			server, _ := watched(t, nil)
			names := strings.NewReplacer("MIRROR", mirror.host, "SERVER", server.host)
			o := &StoreOptions{HostsDir: hostsDir(t, server.host, names.Replace(tt.file))}
			target, err := openRegistryTarget(t.Context(), server.ref(t), o, hasty)
			if tt.want == "" {
				if !errors.Is(err, errNoEndpoint) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m.put(t, target)
			if err := errors.Join(target.Publish(t.Context(), m.index.Descriptor), target.Close()); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*stub{mirror, server} {
				_, err := resolve(t.Context(), s.ref(t))
				if want := names.Replace(tt.want) == s.host; (err == nil) != want {
					t.Errorf("%s: %v, want it there: %v", s.host, err, want)
				}
			}
		})
	}
}

// TestMirrorPaths serves the API at other paths, for reading and writing.
func TestMirrorPaths(t *testing.T) {
	m := newModel(t, 88)
	for _, tt := range []struct {
		name, path string
		override   bool
		root, repo string // what the server strips and keeps
	}{
		{"plain", "", false, "", "org/model"},
		{"below a path", "/us", false, "/us", "org/model"},
		{"with its version", "/us/v2", false, "/us", "org/model"},
		{"below the version", "/v2/up/stream", true, "", "up/stream/org/model"},
		{"both", "/us/v2/up", true, "/us", "up/org/model"},
		{"no version", "/files", true, "/files", "org/model"},
		{"no path", "/", true, "", "org/model"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, seen := watched(t, func(_ http.ResponseWriter, r *http.Request) bool {
				var ok bool
				if r.URL.Path, ok = strings.CutPrefix(r.URL.Path, tt.root); !ok {
					t.Errorf("%s %s is not below %s", r.Method, r.URL, tt.root)
				}
				if !strings.HasPrefix(r.URL.Path, "/v2/") {
					r.URL.Path = "/v2" + r.URL.Path // where the fake has it
				}
				return false
			})
			o := &StoreOptions{HostsDir: hostsDir(t, "registry.example", fmt.Sprintf("server = 'http://%s%s'\noverride_path = %v", s.host, tt.path, tt.override))}
			ref := parseRef(t, "registry.example/org/model:v1")
			target, err := openRegistryTarget(t.Context(), ref, o, hasty)
			if err != nil {
				t.Fatal(err)
			}
			m.put(t, target)
			if err := errors.Join(target.Publish(t.Context(), m.index.Descriptor), target.Close()); err != nil {
				t.Fatal(err)
			}
			src, err := openRegistrySource(t.Context(), ref, o, hasty)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, src, m)
			_ = src.Close()
			last := seen.all()[len(seen.all())-1]
			if want := "/" + tt.repo + "/blobs/"; !strings.Contains(last.URL.Path, want) {
				t.Errorf("%s has no %s", last.URL.Path, want)
			}
		})
	}
}

// TestMirrorHeaders sends the headers of hosts.toml to the host, and not to
// where it redirects.
func TestMirrorHeaders(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 89, 100)
	var stored requests
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stored.add(r)
		_, _ = w.Write(b.raw)
	}))
	t.Cleanup(storage.Close)
	s, seen := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		http.Redirect(w, r, storage.URL, http.StatusTemporaryRedirect)
		return true
	}))
	src := openMirrored(t, s.ref(t), fmt.Sprintf("server = 'http://%s'\n[header]\nx-key = ['a', 'b']\nauthorization = 'Bearer x'", s.host), StoreOptions{})
	if got := readBlob(t, src, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
		t.Errorf("%d wrong bytes", len(got))
	}
	for _, r := range seen.all() {
		if got := r.Header.Values("X-Key"); !slices.Equal(got, []string{"a", "b"}) || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("%s: %v", r.URL, r.Header)
		}
	}
	if got := stored.all(); len(got) != 1 || got[0].Header.Get("X-Key") != "" || got[0].Header.Get("Authorization") != "" {
		t.Errorf("the storage got %v", got)
	}
}

// TestMirrorWithoutPing reads at a host that is but a tree of files.
func TestMirrorWithoutPing(t *testing.T) {
	m := newModel(t, 90)
	s, _ := watched(t, nil)
	m.publish(t, s.ref(t))
	s.script = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			w.WriteHeader(404)
		}
		return r.URL.Path == "/v2/"
	}
	readAll(t, openMirrored(t, s.ref(t), fmt.Sprintf("server = 'http://%s'", s.host), StoreOptions{}), m)
	if _, err := openRegistrySource(t.Context(), s.ref(t), nil, hasty); !errors.Is(err, ErrNotFound) {
		t.Errorf("a registry without hosts.toml: %v", err)
	}
}

// TestDialTimeout gives up on a host as soon as hosts.toml wants: that is a fault
// of the host, and the next is asked.
func TestDialTimeout(t *testing.T) {
	m := newModel(t, 99)
	s, _ := watched(t, nil)
	m.publish(t, s.ref(t))
	const never = "dial_timeout = '1ns'\n"
	readAll(t, openMirrored(t, s.ref(t), readMirror("127.0.0.2:1")+never, StoreOptions{}), m)
	o := &StoreOptions{HostsDir: hostsDir(t, s.host, never)}
	if _, err := openRegistrySource(t.Context(), s.ref(t), o, hasty); !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v", err)
	}
}

// TestHostsDirErrors wants what was named to be there and to be right.
func TestHostsDirErrors(t *testing.T) {
	ref := parseRef(t, "registry.example/org/model:v1")
	for _, tt := range []struct {
		name string
		o    StoreOptions
		says string
	}{
		{"no directory", StoreOptions{HostsDir: filepath.Join(t.TempDir(), "x")}, "no such file"},
		{"no TOML", StoreOptions{HostsDir: hostsDir(t, "registry.example", "x")}, "hosts.toml: line 1"},
		{"no CA of a mirror", StoreOptions{HostsDir: hostsDir(t, "registry.example", "[host.'a.example']\nca = 'x.pem'")}, "x.pem"},
		{"no CA", StoreOptions{CAFile: "/nonexistent"}, "/nonexistent"},
		{"no PEM", StoreOptions{CAFile: os.Args[0]}, "more than"},
		{"no certificate", StoreOptions{CAFile: "mirror.go"}, "mirror.go holds no certificate"},
		{"a key alone", StoreOptions{KeyFile: "k.pem"}, "k.pem has no certificate"},
		{"a client certificate", StoreOptions{CertFile: "mirror.go"}, "mirror.go"},
	} {
		for _, scope := range []string{transport.PullScope, transport.PushScope} {
			_, err := dialRegistry(t.Context(), ref, &tt.o, scope, hasty)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	}
}
