package hosts

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a tree of files by their paths.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDirectories looks registries up as containerd does: each tree is read for
// one registry, and the server in the file that was found tells which it was.
func TestDirectories(t *testing.T) {
	const said = `server = "`
	for _, tt := range []struct {
		name, registry string
		dirs           []string
		want           string // the directory whose hosts.toml is read; "": none
	}{
		{"no tree", "ghcr.io", nil, ""},
		{"by name", "ghcr.io", []string{"ghcr.io", "_default"}, "ghcr.io"},
		{"by default", "ghcr.io", []string{"quay.io", "_default"}, "_default"},
		{"underscores first", "r.example:5000", []string{"r.example_5000_", "r.example:5000", "_default"}, "r.example_5000_"},
		{"then the colon", "r.example:5000", []string{"r.example:5000", "r.example", "_default"}, "r.example:5000"},
		{"another port is another registry", "r.example:5000", []string{"r.example", "r.example:443"}, ""},
		{"IPv6 with a port", "[::1]:5000", []string{"[::1]_5000_"}, "[::1]_5000_"},
		{"IPv6", "[::1]", []string{"[::1]"}, "[::1]"},
		{"no way up", "..", []string{"_default"}, "_default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for _, d := range tt.dirs {
				// As part of a path, what a host name cannot hold does no harm.
				files[d+"/hosts.toml"] = said + "https://found/" + url.PathEscape(d) + `"`
			}
			hosts, err := Load(write(t, files), tt.registry)
			if err != nil || len(hosts) != 1 {
				t.Fatalf("%v, %v", hosts, err)
			}
			want := Host{Name: tt.registry, Path: "/v2", Pull: true, Resolve: true, Push: true}
			if tt.want != "" {
				want.Scheme, want.Name, want.Path = "https", "found", "/"+tt.want+"/v2"
			}
			if diff := cmp.Diff(want, hosts[0]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestDirectoryAbove does not read what lies beside the tree.
func TestDirectoryAbove(t *testing.T) {
	dir := write(t, map[string]string{"hosts.toml": "no TOML", "tree/x": ""})
	for _, registry := range []string{"..", ".", "../x", "a/../..", `..\x`, ""} {
		if hosts, err := Load(filepath.Join(dir, "tree"), registry); err != nil || len(hosts) != 1 {
			t.Errorf("%q: %v, %v", registry, hosts, err)
		}
	}
}

func TestFile(t *testing.T) {
	all := Host{Scheme: "https", Name: "m.example", Path: "/v2", Pull: true, Resolve: true, Push: true}
	self := Host{Name: "r.example", Path: "/v2", Pull: true, Resolve: true, Push: true}
	with := func(h Host, f func(h *Host)) Host { f(&h); return h }
	proxy, err := url.Parse("socks5://p.example:1080")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		want       []Host // DIR is the directory of the file
	}{
		{"nothing", "", []Host{self}},
		{"what others read", "x = 1\n[y]\nz = 2", []Host{self}},
		{"a server", `server = "https://m.example"`, []Host{all}},
		{"a server without scheme", `server = "m.example"`, []Host{all}},
		{"a name that begins as a scheme does", `server = "httpbin.example"`, []Host{with(all, func(h *Host) { h.Name = "httpbin.example" })}},
		{"a mirror before the registry", `[host."https://m.example"]`, []Host{all, self}},
		{"a mirror of http", `[host."http://m.example:80"]`, []Host{with(all, func(h *Host) { h.Scheme, h.Name = "http", "m.example:80" }), self}},
		{
			"their order is that of the file",
			"server = 'z.example'\n[host.\"https://c.example\"]\n[host.\"https://a.example\"]\n[host.\"https://c.example\".header]\n[host.\"https://b.example\"]",
			[]Host{
				with(all, func(h *Host) { h.Name = "c.example" }), with(all, func(h *Host) { h.Name = "a.example" }),
				with(all, func(h *Host) { h.Name = "b.example" }), with(all, func(h *Host) { h.Name = "z.example" }),
			},
		},
		{
			"the same in other spellings",
			"host.\"https://c.example\".skip_verify = false\nhost.'https://a.example'.skip_verify = false",
			[]Host{with(all, func(h *Host) { h.Name = "c.example" }), with(all, func(h *Host) { h.Name = "a.example" }), self},
		},
		{
			"and in one more",
			"[host]\n\"https://c.example\" = {skip_verify = false}\n'a.example'.skip_verify = false",
			[]Host{with(all, func(h *Host) { h.Name = "c.example" }), with(all, func(h *Host) { h.Name = "a.example" }), self},
		},
		{
			"capabilities", "capabilities = ['pull']\n[host.\"m.example\"]\ncapabilities = [\"Pull\", \"RESOLVE\"]",
			[]Host{with(all, func(h *Host) { h.Push = false }), with(self, func(h *Host) { h.Push, h.Resolve = false, false })},
		},
		{"no capabilities are all", "server = 'm.example'\ncapabilities = []", []Host{all}},
		{"a path", `server = "https://m.example/us/"`, []Host{with(all, func(h *Host) { h.Path = "/us/v2" })}},
		{"a path with its version", `server = "https://m.example/us/v2/"`, []Host{with(all, func(h *Host) { h.Path = "/us/v2" })}},
		{"a path of its own", "server = 'https://m.example/v2/up'\noverride_path = true", []Host{with(all, func(h *Host) { h.Path = "/v2/up" })}},
		{"no path at all", "server = 'https://m.example/'\noverride_path = true", []Host{with(all, func(h *Host) { h.Path = "" })}},
		{"one authority", "server = 'm.example'\nca = 'a.pem'", []Host{with(all, func(h *Host) { h.CA = []string{"DIR/a.pem"} })}},
		{"authorities", "ca = ['a.pem', '/etc/b.pem']", []Host{with(self, func(h *Host) { h.CA = []string{"DIR/a.pem", "/etc/b.pem"} })}},
		{"a client", "client = 'c.pem'", []Host{with(self, func(h *Host) { h.Client = [][2]string{{"DIR/c.pem", ""}} })}},
		{"clients", "client = ['c.pem', '/d.pem']", []Host{with(self, func(h *Host) { h.Client = [][2]string{{"DIR/c.pem", ""}, {"/d.pem", ""}} })}},
		{"pairs", "client = [['c.pem', 'c.key'], ['d.pem', '']]", []Host{with(self, func(h *Host) { h.Client = [][2]string{{"DIR/c.pem", "DIR/c.key"}, {"DIR/d.pem", ""}} })}},
		{"skip_verify", "skip_verify = true", []Host{with(self, func(h *Host) { h.SkipVerify = true })}},
		{
			"headers", "[header]\nx-one = 'a'\nx-two = ['b', 'c']",
			[]Host{with(self, func(h *Host) { h.Header = http.Header{"X-One": {"a"}, "X-Two": {"b", "c"}} })},
		},
		{"dial_timeout", "dial_timeout = '1.5s'", []Host{with(self, func(h *Host) { h.DialTimeout = 1500 * time.Millisecond })}},
		{"proxy", "proxy = 'socks5://p.example:1080/'", []Host{with(self, func(h *Host) { p := *proxy; p.Path = "/"; h.Proxy = &p })}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string]string{"r.example/hosts.toml": tt.file})
			got, err := Load(dir, "r.example")
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				relative(got[i].CA, dir)
				for j := range got[i].Client {
					relative(got[i].Client[j][:], dir)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func relative(names []string, dir string) {
	for i := range names {
		names[i] = strings.Replace(names[i], filepath.Join(dir, "r.example"), "DIR", 1)
	}
}

// TestRefused names the file, the key and what is wrong with it.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, key, says string }{
		{"no TOML", "server =\nx", "", "line 1"},
		{"cut", "[host.\"https://a.ex", "", ""},
		{"twice", "server = 'a'\nserver = 'b'", "server", "line 2"},
		{"a number for a server", "server = 1", "server", "line 1"},
		{"a scheme", "server = 'ftp://a.example'", "server", "neither http nor https"},
		{"no host", "server = 'https:///v2'", "server", "names no host"},
		{"a mirror without a name", "[host.'']", `host.""`, "names no host"},
		{"a mirror of another scheme", "[host.'ftp://a']", `host."ftp://a"`, "neither"},
		{"an inline table", "host = {'https://a.example' = {}}", "host", "as a table"},
		{"a list of tables", "[[host.'https://a.example']]", "host.https://a.example", ""},
		{"a capability", "[host.'a']\ncapabilities = ['pull', 'guess']", `host."a".capabilities`, `"guess"`},
		{"ca", "ca = 1", "ca", "neither a string nor a list"},
		{"ca of numbers", "ca = [1]", "ca", "not a string"},
		{"a triple", "client = [['a', 'b', 'c']]", "client", "not 3 files"},
		{"half a pair", "client = [['a']]", "client", "a certificate and a key"},
		{"no pair", "client = [[]]", "client", "empty list"},
		{"client", "client = 1.5", "client", "neither"},
		{"skip_verify", "skip_verify = 'yes'", "skip_verify", ""},
		{"header", "[header]\nx = 1", "header", `"x"`},
		{"header of numbers", "[header]\nx = [1]", "header", "not a string"},
		{"dial_timeout", "dial_timeout = '1'", "dial_timeout", "missing unit"},
		{"a negative dial_timeout", "dial_timeout = '-1s'", "dial_timeout", "negative"},
		{"proxy", "[host.'a']\nproxy = 'p.example:80'", `host."a".proxy`, "want SCHEME"},
		{"proxy with a path", "proxy = 'http://p/x'", "proxy", "want SCHEME"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, map[string]string{"r.example/hosts.toml": tt.file})
			hosts, err := Load(dir, "r.example")
			e, ok := errors.AsType[*Error](err)
			if !ok || e.File != filepath.Join(dir, "r.example", "hosts.toml") || e.Key != tt.key || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, %v (%T)", hosts, err, err)
			}
		})
	}
	big := write(t, map[string]string{"r/hosts.toml": strings.Repeat("#", maxFile+1)})
	if _, err := Load(big, "r"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a large file: %v", err)
	}
	if os.Getuid() != 0 {
		dir := write(t, map[string]string{"r/hosts.toml": ""})
		if err := os.Chmod(filepath.Join(dir, "r", "hosts.toml"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, "r"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("an unreadable file: %v", err)
		}
	}
}

// TestDockerLayout takes certificates where there is no hosts.toml, or an empty
// one.
func TestDockerLayout(t *testing.T) {
	files := map[string]string{
		"r.example_5000_/ca.crt": "", "r.example_5000_/b.crt": "", "r.example_5000_/client.cert": "", "r.example_5000_/client.key": "",
		"r.example_5000_/both.cert": "", "r.example_5000_/alone.key": "", "r.example_5000_/README": "", "r.example_5000_/dir.crt/x": "",
		"r.example_5000_/client2.cert": "", "r.example_5000_/client2.key/x": "",
	}
	for _, empty := range []bool{false, true} {
		if empty {
			files["r.example_5000_/hosts.toml"] = ""
		}
		root := write(t, files)
		dir := filepath.Join(root, "r.example_5000_")
		got, err := Load(root, "r.example:5000")
		if err != nil {
			t.Fatal(err)
		}
		want := []Host{{
			Name: "r.example:5000", Path: "/v2", Pull: true, Resolve: true, Push: true,
			CA: []string{dir + "/b.crt", dir + "/ca.crt"},
			Client: [][2]string{
				{dir + "/both.cert", ""}, {dir + "/client.cert", dir + "/client.key"}, {dir + "/client2.cert", ""},
			},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// FuzzParse wants of every file that is taken: hosts that can be asked, the
// registry itself last, each mirror once for each time it is written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "server = 'https://a.example'\n[host.\"https://m.example\"]\ncapabilities = ['pull']\n[host.\"https://m.example\".header]\nx = ['1']",
		"host.'a'.ca = ['x']\n[host.b]\nclient = [['c', 'k'], ['d', '']]\ndial_timeout = '1s'\nproxy = 'http://p:1'",
		"[host]\na = {skip_verify = true}\n[[x]]\n[[x.y]]\nz = {w = [[[1]]]}", "host = {a = {}}", "\xff", "[host.'\\u0000']",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > 4<<10 {
			return
		}
		hosts, err := parse("/dir", doc)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Err == nil {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		names, _ := order(doc)
		if len(hosts) != len(names)+1 {
			t.Fatalf("%d hosts for %q", len(hosts), names)
		}
		for i, h := range hosts {
			last := i == len(hosts)-1
			if h.Name == "" && !last || h.Name != "" && h.Scheme != "http" && h.Scheme != "https" {
				t.Fatalf("host %d: %+v", i, h)
			}
			if strings.HasSuffix(h.Path, "/") || h.DialTimeout < 0 {
				t.Fatalf("host %d: %+v", i, h)
			}
			for _, name := range slices.Concat(h.CA, flat(h.Client)) {
				if name != "" && !filepath.IsAbs(name) {
					t.Fatalf("host %d: %q is relative", i, name)
				}
			}
		}
	})
}

func flat(pairs [][2]string) (names []string) {
	for _, p := range pairs {
		names = append(names, p[:]...)
	}
	return names
}
