package oci

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// perHost is a Keychain with a password for each HOST:PORT.
type perHost map[string]string

func (p perHost) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if pass := p[r.RegistryStr()]; pass != "" {
		return &authn.Basic{Username: "user", Password: pass}, nil
	}
	return authn.Anonymous, nil
}

// tokens is a script of a registry that wants a bearer token, which it gives for
// a password alone.
func tokens(s **stub, password, token string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, pass, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && pass == password:
			_, _ = fmt.Fprintf(w, `{"token":%q}`, token)
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, (*s).host))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	}
}

// secretsIn returns what of the words the requests hold, anywhere.
func secretsIn(list []*http.Request, words ...string) (found []string) {
	for _, r := range list {
		text := fmt.Sprint(r.URL, r.Header)
		if _, pass, ok := r.BasicAuth(); ok {
			text += pass
		}
		for _, w := range words {
			if strings.Contains(text, w) {
				found = append(found, w+" in "+r.Method+" "+r.URL.String())
			}
		}
	}
	return found
}

// TestCredentialsOfMirrors gives each host its own credentials, and no host what
// is another's: not the password, not the token.
func TestCredentialsOfMirrors(t *testing.T) {
	m := newModel(t, 93)
	for _, tt := range []struct {
		name string
		keys func(mirror, server string) perHost
		at   string // who serves
	}{
		{"both", func(m, s string) perHost { return perHost{m: "mirror-pass", s: "server-pass"} }, "mirror"},
		{"the registry's alone", func(_, s string) perHost { return perHost{s: "server-pass"} }, "server"},
		{"the mirror's alone", func(m, _ string) perHost { return perHost{m: "mirror-pass"} }, "mirror"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mirror, server *stub
			var atMirror, atServer requests
			mirror = newStub(t, nil)
			server = newStub(t, nil)
			m.publish(t, mirror.ref(t))
			m.publish(t, server.ref(t))
			withTokens := func(s **stub, log *requests, pass, token string) func(http.ResponseWriter, *http.Request) bool {
				script := tokens(s, pass, token)
				return func(w http.ResponseWriter, r *http.Request) bool { log.add(r); return script(w, r) }
			}
			mirror.script = withTokens(&mirror, &atMirror, "mirror-pass", "mirror-token")
			server.script = withTokens(&server, &atServer, "server-pass", "server-token")
			src := openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{Keychain: tt.keys(mirror.host, server.host)})
			readAll(t, src, m)
			if got := secretsIn(atMirror.all(), "server-pass", "server-token"); len(got) != 0 {
				t.Errorf("the mirror saw %q", got)
			}
			if got := secretsIn(atServer.all(), "mirror-pass", "mirror-token"); len(got) != 0 {
				t.Errorf("the registry saw %q", got)
			}
			if n := len(secretsIn(atServer.all(), "server-token")); (n > 0) != (tt.at == "server") {
				t.Errorf("the registry was asked %d times; want %s", n, tt.at)
			}
		})
	}
}

// TestHubHasOneOwner takes both names of Docker Hub for one.
func TestHubHasOneOwner(t *testing.T) {
	ref := parseRef(t, "docker.io/org/model:v1")
	for file, want := range map[string]string{
		"": "", "server = 'https://registry-1.docker.io'": "", "server = 'https://docker.io'": "", "server = 'https://mirror.example'": "docker.io",
	} {
		ends, err := endpoints(ref, &StoreOptions{HostsDir: hostsDir(t, "docker.io", file)})
		if err != nil || len(ends) != 1 || ends[0].namespace() != want {
			t.Errorf("%s: %+v, %v", file, ends[0].host, err)
		}
	}
}

// TestRealms sends passwords to no realm that is not the registry's to name, and
// does not ask services of the network for tokens.
func TestRealms(t *testing.T) {
	var elsewhere requests
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.add(r)
		_, _ = io.WriteString(w, `{"token":"x"}`)
	}))
	t.Cleanup(other.Close)
	for _, realm := range []string{
		other.URL + "/token", // another port of this machine
		"http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://10.0.0.1/", "file:///etc/passwd", "http://[::ffff:169.254.169.254]/",
	} {
		s, _ := watched(t, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		for _, o := range []StoreOptions{
			{Keychain: secret{}},
			{Keychain: secret{}, HostsDir: hostsDir(t, s.host, fmt.Sprintf("server = 'http://%s'", s.host))},
		} {
			if _, err := openRegistrySource(t.Context(), s.ref(t), &o, hasty); err == nil {
				t.Errorf("%s: no error", realm)
			}
		}
	}
	// A realm that is the registry's may not send the password on.
	var s *stub
	s, _ = watched(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, other.URL+"/token", http.StatusTemporaryRedirect)
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, s.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if _, err := openRegistrySource(t.Context(), s.ref(t), &StoreOptions{Keychain: secret{}}, hasty); err == nil {
		t.Error("a realm that redirects: no error")
	}
	if got := elsewhere.all(); len(got) != 0 {
		t.Errorf("another host was asked: %v", got)
	}
}

// TestChallengesElsewhere redirects to a storage that asks for credentials: it
// gets none, even if its challenge is the registry's.
func TestChallengesElsewhere(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 94, 100)
	for _, challenge := range []string{`Basic realm="r"`, `Bearer realm="http://REGISTRY/token",service="s",scope="repository:org/model:pull"`} {
		var stored requests
		var s *stub
		storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stored.add(r)
			w.Header().Set("WWW-Authenticate", strings.ReplaceAll(challenge, "REGISTRY", s.host))
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(storage.Close)
		var script func(http.ResponseWriter, *http.Request) bool
		s = newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
			if script(w, r) {
				return true
			}
			http.Redirect(w, r, storage.URL+"/blob", http.StatusTemporaryRedirect)
			return true
		})
		script = tokens(&s, "pass", "tkn")
		src := s.source(t, hasty, secret{})
		if _, err := readRange(t.Context(), src, b.Descriptor, 0, -1); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", challenge, err)
		}
		if got := stored.all(); len(got) == 0 || len(secretsIn(got, "pass", "tkn", "Authorization:[B")) != 0 {
			t.Errorf("%s: the storage got %v", challenge, got)
		}
	}
}

// TestMetadataServices dials none, whichever way an address comes in.
func TestMetadataServices(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 95, 100)
	for _, addr := range []string{"169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "[::ffff:169.254.169.254]"} {
		s, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, "https://"+addr+"/latest/meta-data", http.StatusTemporaryRedirect)
			return true
		}))
		if _, err := s.source(t, hasty, nil).Blob(t.Context(), b.Descriptor, 0, -1); err == nil || !strings.Contains(err.Error(), "link-local") {
			t.Errorf("a redirect to %s: %v", addr, err)
		}
		src := openMirrored(t, s.ref(t), readMirror(addr), StoreOptions{})
		if _, err := src.Resolve(t.Context()); err == nil || !strings.Contains(err.Error(), "refusing to talk to") {
			t.Errorf("a mirror at %s: %v", addr, err)
		}
	}
}

// authJSON writes a file of credentials, one password for each key.
func authJSON(t *testing.T, file string, keys map[string]string) {
	t.Helper()
	var entries []string
	for key, pass := range keys {
		auth := base64.StdEncoding.EncodeToString([]byte("user:" + pass))
		entries = append(entries, fmt.Sprintf("%q: {\"auth\": %q}", key, auth))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"auths": {`+strings.Join(entries, ", ")+`}}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKeychain looks for credentials where Docker and Podman put them.
func TestKeychain(t *testing.T) {
	type files map[string]map[string]string // by the variable that names the place
	for _, tt := range []struct {
		name, repo string
		files      files
		want       string // password
	}{
		{"none", "r.example/a", files{}, ""},
		{"Docker's", "r.example/a", files{"DOCKER_CONFIG": {"r.example": "d"}}, "d"},
		{"Podman's, of the session", "r.example/a", files{"XDG_RUNTIME_DIR": {"r.example": "p"}}, "p"},
		{"Podman's, for good", "r.example/a", files{"XDG_CONFIG_HOME": {"r.example": "p"}}, "p"},
		{"Podman's, below home", "r.example/a", files{"HOME": {"r.example": "p"}}, "p"},
		{"named", "r.example/a", files{"REGISTRY_AUTH_FILE": {"r.example": "n"}, "DOCKER_CONFIG": {"r.example": "d"}}, "n"},
		{"Podman's beside Docker's", "r.example/a", files{"DOCKER_CONFIG": {"other.example": "d"}, "XDG_RUNTIME_DIR": {"r.example": "p"}}, "p"},
		{"both", "r.example/a", files{"DOCKER_CONFIG": {"r.example": "d"}, "XDG_RUNTIME_DIR": {"r.example": "p"}}, "d"},
		{"another host", "r.example/a", files{"DOCKER_CONFIG": {"r.example.org": "x", "r.example:5000": "x", "example": "x"}}, ""},
		{"another port", "r.example:5000/a", files{"DOCKER_CONFIG": {"r.example": "x", "r.example:5001": "x"}}, ""},
		{"a port", "r.example:5000/a", files{"DOCKER_CONFIG": {"r.example:5000": "d"}}, "d"},
		{"a URL", "r.example/a", files{"DOCKER_CONFIG": {"https://r.example/v1/": "d"}}, "d"},
		{"a path with a version", "r.example/a", files{"DOCKER_CONFIG": {"r.example/v2/": "d"}}, "d"},
		{"a path", "r.example/org/model", files{"XDG_RUNTIME_DIR": {"r.example/org": "o", "r.example": "p"}}, "o"},
		{"the longest path", "r.example/org/a/b", files{"XDG_RUNTIME_DIR": {"r.example/org": "o", "r.example/org/a": "a", "r.example/org/a/c": "c"}}, "a"},
		{"the repository", "r.example/org/model", files{"XDG_RUNTIME_DIR": {"r.example/org/model": "m", "r.example/org": "o"}}, "m"},
		{"another path", "r.example/org/model", files{"XDG_RUNTIME_DIR": {"r.example/organic": "x", "r.example/other": "x"}}, ""},
		{"another path, in Docker's", "r.example/org/model", files{"DOCKER_CONFIG": {"r.example/other": "x"}}, ""},
		{"Docker Hub", "docker.io/org/model", files{"DOCKER_CONFIG": {"https://index.docker.io/v1/": "h"}}, "h"},
		{"Docker Hub by Podman", "docker.io/org/model", files{"XDG_RUNTIME_DIR": {"docker.io": "h"}}, "h"},
		{"Docker Hub, a path", "docker.io/org/model", files{"XDG_RUNTIME_DIR": {"docker.io/org": "o", "docker.io": "h"}}, "o"},
		{"not Docker Hub", "docker.io.example/org/model", files{"XDG_RUNTIME_DIR": {"docker.io": "h"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			places := map[string]string{
				"DOCKER_CONFIG": "config.json", "XDG_RUNTIME_DIR": "containers/auth.json", "XDG_CONFIG_HOME": "containers/auth.json",
				"HOME": ".config/containers/auth.json", "REGISTRY_AUTH_FILE": "",
			}
			for variable, file := range places {
				dir := t.TempDir()
				switch {
				case variable == "REGISTRY_AUTH_FILE":
					dir, file = filepath.Join(dir, "auth.json"), ""
				case variable == "XDG_CONFIG_HOME" && tt.files[variable] == nil:
					dir = ""
				}
				t.Setenv(variable, dir)
				if keys := tt.files[variable]; keys != nil {
					authJSON(t, filepath.Join(dir, file), keys)
				}
			}
			repo, err := name.NewRepository(tt.repo)
			if err != nil {
				t.Fatal(err)
			}
			auth, err := authn.Resolve(t.Context(), keychain{}, repo)
			if err != nil {
				t.Fatal(err)
			}
			got, err := auth.Authorization()
			if err != nil || got.Password != tt.want {
				t.Errorf("password %q, %v; want %q", got.Password, err, tt.want)
			}
		})
	}
}

// TestKeychainFaults passes over a file that cannot be used only for another
// that has what is wanted.
func TestKeychainFaults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	repo, err := name.NewRepository("r.example/a")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{`{`, `{"credsStore": "of-nobody"}`} {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		authJSON(t, filepath.Join(dir, "containers/auth.json"), map[string]string{"r.example": "p"})
		auth, err := keychain{}.Resolve(repo)
		if err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		if got, err := auth.Authorization(); err != nil || got.Password != "p" {
			t.Errorf("%s: %v, %v", config, got, err)
		}
		authJSON(t, filepath.Join(dir, "containers/auth.json"), nil)
		if auth, err := (keychain{}).Resolve(repo); err == nil {
			t.Errorf("%s: no error, but %v", config, auth)
		}
	}
	broken := []byte(`{"auths": {"r.example": {"auth": "no base64"}}}`)
	if err := os.WriteFile(filepath.Join(dir, "containers/auth.json"), broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (keychain{}).Resolve(repo); err == nil || !strings.Contains(err.Error(), "auth.json") {
		t.Errorf("a broken auth.json: %v", err)
	}
}
