package oci

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// mountScript is a depot with mounts: from says with which status a repository is
// mounted from.
func mountScript(d *depot, b thing, from map[string]int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if r.Method != http.MethodPost || !q.Has("mount") || q.Get("mount") != b.Digest.String() {
			return d.serve(w, r)
		}
		switch status := from[q.Get("from")]; status {
		case http.StatusCreated:
			d.mu.Lock()
			d.blobs[b.Digest.String()] = b.raw
			d.mu.Unlock()
			w.WriteHeader(status)
		case http.StatusAccepted:
			return d.serve(w, r)
		default:
			w.WriteHeader(status)
		}
		return true
	}
}

// TestMount takes a blob over from other repositories. A registry that will not
// do that is not asked again, and no upload stays open.
func TestMount(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 100, 1000)
	status := map[string]int{"org/base": 201, "org/empty": 202, "org/secret": 401, "org/denied": 403, "org/unknown": 404, "org/old": 405, "org/ill": 500}
	for _, tt := range []struct {
		from string
		want bool
		asks int // in two attempts
	}{
		{"org/base", true, 1},
		{"org/empty", false, 2},
		{"org/secret", false, 1},
		{"org/denied", false, 1},
		{"org/unknown", false, 1},
		{"org/old", false, 1},
		{"org/ill", false, hasty.tries},
		{"org/model", false, 0}, // itself
	} {
		t.Run(tt.from, func(t *testing.T) {
			d := newDepot(nil)
			var asks atomic.Int32
			serve := mountScript(d, b, status)
			s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Has("mount") {
					asks.Add(1)
				}
				return serve(w, r)
			})
			target := s.target(t)
			froms := []Reference{parseRef(t, "elsewhere.example/org/base"), parseRef(t, s.host+"/"+tt.from), parseRef(t, "oci:"+t.TempDir())}
			for range 2 {
				got, err := obtain(t.Context(), target, b.Descriptor, froms)
				if got != tt.want || err != nil {
					t.Errorf("%v, %v", got, err)
				}
			}
			if n := int(asks.Load()); n != tt.asks {
				t.Errorf("asked %d times, want %d", n, tt.asks)
			}
			if len(d.sessions) != 0 {
				t.Errorf("%d uploads are left open", len(d.sessions))
			}
		})
	}
}

// TestMountDistrusts has a registry say that it has mounted what it has not.
func TestMountDistrusts(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 101, 1000)
	d := newDepot(nil)
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("mount") {
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return d.serve(w, r)
	})
	if ok, err := s.target(t).Mount(t.Context(), b.Descriptor, parseRef(t, s.host+"/org/base")); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestMountScopes mounts from a registry with a token server: the token must be
// for both repositories, and one that is refused spoils nothing. hosts.toml may say
// that the names of repositories begin otherwise there.
func TestMountScopes(t *testing.T) {
	for _, over := range []string{"", "up/stream/"} {
		t.Run(over, func(t *testing.T) { testMountScopes(t, over) })
	}
}

func testMountScopes(t *testing.T, over string) {
	push := "repository:" + over + "org/model:push,pull"
	b := randomThing(mediatypes.BlockLayer, 102, 1000)
	d := newDepot(nil)
	serve := mountScript(d, b, map[string]int{over + "org/base": 201, over + "org/secret": 201, over + "org/closed": 201})
	var s *stub
	s = newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			scopes := strings.Fields(strings.Join(r.URL.Query()["scope"], " "))
			if user, _, _ := r.BasicAuth(); user != "user" || slices.Contains(scopes, "repository:"+over+"org/closed:pull") {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == "repository:"+over+"org/secret:pull" })
			_, _ = fmt.Fprintf(w, `{"token":%q}`, strings.Join(scopes, "|"))
			return true
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		has := strings.Split(token, "|")
		need := []string{push}
		if from := r.URL.Query().Get("from"); from != "" {
			need = append(need, "repository:"+from+":pull")
		}
		for _, scope := range need {
			if !slices.Contains(has, scope) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s",scope=%q`, s.host, strings.Join(need, " ")))
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		}
		return serve(w, r)
	})
	o := &StoreOptions{Keychain: secret{}}
	if over != "" {
		o.HostsDir = hostsDir(t, s.host, fmt.Sprintf("server = 'http://%s/v2/%s'\noverride_path = true", s.host, over))
	}
	target, err := openRegistryTarget(t.Context(), s.ref(t), o, hasty)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for _, tt := range []struct {
		from string
		want bool
	}{{"org/secret", false}, {"org/closed", false}, {"org/base", true}} {
		if ok, err := target.Mount(t.Context(), b.Descriptor, parseRef(t, s.host+"/"+tt.from)); ok != tt.want || err != nil {
			t.Errorf("%s: %v, %v", tt.from, ok, err)
		}
	}
	other := randomThing(mediatypes.BlockLayer, 103, 1000)
	if err := store(t, target, other); err != nil || !bytes.Equal(d.blobs[other.Digest.String()], other.raw) {
		t.Errorf("an upload after it: %v", err)
	}
}

// TestPushMounts pushes to another repository of a registry: no layer is sent.
func TestPushMounts(t *testing.T) {
	dir := smallModel(t).write(t)
	d := newDepot(nil)
	base := map[string][]byte{}
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if b, ok := base[q.Get("mount")]; ok && q.Get("from") == "org/base" {
			d.mu.Lock()
			d.blobs[q.Get("mount")] = b
			d.mu.Unlock()
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return d.serve(w, r)
	})
	ref := func(repo string) Reference { return parseRef(t, s.host+"/"+repo+":v1") }
	if _, err := Push(t.Context(), ref("org/base"), dir, nil); err != nil {
		t.Fatal(err)
	}
	sent := d.arrived
	base, d.blobs, d.arrived = d.blobs, map[string][]byte{}, 0
	o := &PushOptions{MountFrom: []Reference{ref("org/none"), ref("org/base")}}
	if _, err := Push(t.Context(), ref("org/fine-tune"), dir, o); err != nil {
		t.Fatal(err)
	}
	if d.arrived > sent/10 {
		t.Errorf("%d bytes were sent after %d", d.arrived, sent)
	}
	o.MountFrom = append(o.MountFrom, parseRef(t, "ghcr.io/org/base"))
	if _, err := Push(t.Context(), ref("org/x"), dir, o); err == nil || !strings.Contains(err.Error(), "ghcr.io") {
		t.Errorf("a source at another registry: %v", err)
	}
}

// discard reads what a client sends.
func discard(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
