package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// hostsDir writes the hosts.toml of a registry and returns the tree.
func hostsDir(t testing.TB, registry, file string) string {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, registry)
	if i := strings.LastIndexByte(registry, ':'); i >= 0 {
		own = filepath.Join(dir, registry[:i]+"_"+registry[i+1:]+"_")
	}
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "hosts.toml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readMirror is the table of a host that may be read.
func readMirror(host string) string {
	return fmt.Sprintf("[host.\"http://%s\"]\ncapabilities = ['pull', 'resolve']\n", host)
}

// openMirrored opens ref with a hosts.toml for its registry.
func openMirrored(t testing.TB, ref Reference, file string, o StoreOptions) Source {
	t.Helper()
	o.HostsDir = hostsDir(t, ref.repo.RegistryStr(), file)
	src, err := openRegistrySource(t.Context(), ref, &o, hasty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

// requests remembers the requests that a server gets.
type requests struct {
	mu   sync.Mutex
	list []*http.Request
}

func (l *requests) add(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r.Clone(context.Background()))
}

func (l *requests) all() []*http.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// watched is a stub that remembers its requests.
func watched(t testing.TB, script func(http.ResponseWriter, *http.Request) bool) (*stub, *requests) {
	var l requests
	return newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		l.add(r)
		return script != nil && script(w, r)
	}), &l
}

// unused is an address that nobody listens on.
func unused(t testing.TB) string {
	srv := httptest.NewServer(nil)
	srv.Close()
	return strings.TrimPrefix(srv.URL, "http://")
}

// below is a script for what lies below a kind: manifests or blobs.
func below(kind string, answer func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/"+kind+"/") {
			return false
		}
		answer(w, r)
		return true
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// readAll reads all of a model and compares it.
func readAll(t *testing.T, src Source, m model) {
	t.Helper()
	d, err := src.Resolve(t.Context())
	if err != nil || d.Digest != m.index.Digest {
		t.Fatalf("resolved to %v, %v", d, err)
	}
	for _, x := range append(m.manifests, m.index) {
		if raw, err := src.Manifest(t.Context(), x.Descriptor); err != nil || !bytes.Equal(raw, x.raw) {
			t.Fatalf("Manifest: %d bytes, %v", len(raw), err)
		}
	}
	for _, b := range m.blobs() {
		if got := readBlob(t, src, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
			t.Fatalf("blob %s differs", b.Digest)
		}
	}
}

// TestMirrorServes reads all at the mirror: the registry itself gets no request,
// not even for a handshake, and the mirror is told for whom it stands.
func TestMirrorServes(t *testing.T) {
	m := newModel(t, 80)
	mirror, seen := watched(t, nil)
	m.publish(t, mirror.ref(t))
	before := len(seen.all())
	server, unseen := watched(t, nil)
	readAll(t, openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{}), m)
	for _, r := range seen.all()[before:] {
		if want := server.host; r.URL.Query().Get("ns") != want && r.URL.Path != "/v2/" {
			t.Errorf("%s %s does not name %s", r.Method, r.URL, want)
		}
	}
	if n := len(unseen.all()); n != 0 {
		t.Errorf("the registry got %d requests", n)
	}
}

// TestNextMirror breaks the mirror in every way: the registry has the bytes, and
// is not told that it is a mirror of itself.
func TestNextMirror(t *testing.T) {
	m, other := newModel(t, 81), newModel(t, 82)
	for _, tt := range []struct {
		name   string
		script func(http.ResponseWriter, *http.Request) bool
	}{
		{"manifests not found", below("manifests", status(404))},
		{"manifests 500", below("manifests", status(500))},
		{"manifests 401", below("manifests", status(401))},
		{"manifests 403", below("manifests", status(403))},
		{"another manifest", below("manifests", func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "sha256:") {
				_, _ = w.Write(other.index.raw)
				return
			}
			w.WriteHeader(404)
		})},
		{"a web page", below("manifests", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })},
		{"blobs not found", below("blobs", status(404))},
		{"blobs 503", below("blobs", status(503))},
		{"blobs 403", below("blobs", status(403))},
		{"blobs of another size", below("blobs", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })},
		{"blobs cut", below("blobs", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			panic(http.ErrAbortHandler)
		})},
		{"no handshake", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(502); return true }},
		{"a realm that is refused", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://169.254.169.254/token"`)
			w.WriteHeader(401)
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mirror, seen := watched(t, nil)
			m.publish(t, mirror.ref(t))
			mirror.script = func(w http.ResponseWriter, r *http.Request) bool { seen.add(r); return tt.script(w, r) }
			server, log := watched(t, nil)
			m.publish(t, server.ref(t))
			asked := len(seen.all())
			readAll(t, openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{}), m)
			if len(seen.all()) == asked {
				t.Error("the mirror was not asked")
			}
			for _, r := range log.all() {
				if r.URL.Query().Has("ns") {
					t.Errorf("the registry is asked as a mirror: %s", r.URL)
				}
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		server, _ := watched(t, nil)
		m.publish(t, server.ref(t))
		readAll(t, openMirrored(t, server.ref(t), readMirror(unused(t))+readMirror(unused(t)), StoreOptions{}), m)
	})
}

// TestBlobGoesOnElsewhere breaks blobs off at the mirror: each byte is read
// once.
func TestBlobGoesOnElsewhere(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 83, 100_000)
	mirror, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, get int) bool {
		if get > 1 {
			w.WriteHeader(500)
			return true
		}
		return serveRange(w, r, b.raw, 30_000)
	}))
	server, seen := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, -1) }))
	src := openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{})
	if got := readBlob(t, src, b.Descriptor, 1000, 90_000); !bytes.Equal(got, b.raw[1000:91_000]) {
		t.Errorf("%d wrong bytes", len(got))
	}
	if got := seen.all(); len(got) != 2 || got[1].Header.Get("Range") != "bytes=31000-90999" {
		t.Errorf("the registry got %v", got)
	}
	// Until the mirror has rested, the registry alone is asked.
	readBlob(t, src, b.Descriptor, 0, 10)
	if n := mirror.count("GET blobs"); n != 2 {
		t.Errorf("the mirror got %d requests", n)
	}
	// Both broken: the error says where, and what is wrong with each.
	server.script = below("blobs", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "bytes=5-9" {
			w.WriteHeader(404)
			return
		}
		serveRange(w, r, b.raw, 2)
	})
	got, err := readRange(t.Context(), src, b.Descriptor, 5, 5)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Offset != 7 || !bytes.Equal(got, b.raw[5:7]) || !errors.Is(err, ErrNotFound) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, says := range []string{mirror.host + " answers 500", server.host + " answers 404"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

// TestLargeBlobGoesOnElsewhere has the mirror lose a part of a blob that is
// fetched in parts.
func TestLargeBlobGoesOnElsewhere(t *testing.T) {
	b := large()
	mirror, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if strings.HasPrefix(r.Header.Get("Range"), fmt.Sprintf("bytes=%d-", 2*partSize)) {
			w.WriteHeader(404)
			return true
		}
		return serveRange(w, r, b.raw, -1)
	}))
	server, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, -1) }))
	src := openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{Connections: 3})
	if got := readBlob(t, src, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) {
		t.Errorf("%d wrong bytes", len(got))
	}
	if mirror.count("GET blobs") < 2 || server.count("GET blobs") == 0 {
		t.Errorf("mirror: %q, registry: %q", mirror.seen, server.seen)
	}
}

// TestReferrersOfMirrors takes from no mirror that there are none, and asks none
// that is not trusted with tags.
func TestReferrersOfMirrors(t *testing.T) {
	subject := randomThing(ocispec.MediaTypeImageManifest, 100, 10).Descriptor
	signature := randomThing(ocispec.MediaTypeImageManifest, 101, 10).Descriptor
	lists := func(found ...ocispec.Descriptor) func(http.ResponseWriter, *http.Request) bool {
		raw := jsonThing(t, ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append([]ocispec.Descriptor{}, found...)}).raw
		return below("referrers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = w.Write(raw)
		})
	}
	for _, tt := range []struct {
		name           string
		mirror, server func(http.ResponseWriter, *http.Request) bool
		pullOnly       bool
		want           int // -1: an error
	}{
		{"the mirror has some", lists(signature), below("referrers", status(500)), false, 1},
		{"the mirror has none", lists(), lists(signature), false, 1},
		{"nobody has any", lists(), lists(), false, 0},
		{"the mirror fails", below("referrers", status(500)), lists(signature), false, 1},
		{"the registry fails", lists(), below("referrers", status(500)), false, -1},
		{"the mirror may not say", lists(signature), lists(), true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mirror, _ := watched(t, tt.mirror)
			server, _ := watched(t, tt.server)
			file := readMirror(mirror.host)
			if tt.pullOnly {
				file = strings.Replace(file, ", 'resolve'", "", 1)
			}
			got, err := openMirrored(t, server.ref(t), file, StoreOptions{}).Referrers(t.Context(), subject)
			if (err != nil) != (tt.want < 0) || err == nil && len(got) != tt.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestElsewhere gives a caller who got wrong bytes the other hosts, one after
// the other, and leaves the source as it is.
func TestElsewhere(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 86, 100)
	var hosts []*stub
	for i := range 3 {
		s, _ := watched(t, blobServer(b, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write(bytes.Repeat([]byte{byte(i)}, 100))
			return true
		}))
		hosts = append(hosts, s)
	}
	src := openMirrored(t, hosts[2].ref(t), readMirror(hosts[0].host)+readMirror(hosts[1].host), StoreOptions{})
	view := src
	for i, want := range []byte{0, 1, 2, 0, 1} {
		if got := readBlob(t, view, b.Descriptor, 0, -1); got[0] != want {
			t.Errorf("view %d reads at host %d, want %d", i, got[0], want)
		}
		view = view.(interface{ elsewhere() Source }).elsewhere()
	}
	if got := readBlob(t, src, b.Descriptor, 0, -1); got[0] != 0 {
		t.Errorf("the source reads at host %d", got[0])
	}
}

// TestCarryPastWrongMirror moves a blob that the first mirror damages: what arrives is
// right, and it counts once.
func TestCarryPastWrongMirror(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 87, 100)
	mirror, _ := watched(t, blobServer(b, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		_, _ = w.Write(make([]byte, 100))
		return true
	}))
	server, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, -1) }))
	src := openMirrored(t, server.ref(t), readMirror(mirror.host), StoreOptions{})
	to := parseRef(t, "oci:"+t.TempDir()+":v1")
	target := openTarget(t, to)
	defer target.Close()
	bar := &phase{}
	have, err := carry(t.Context(), src, target, b.Descriptor, nil, bar)
	if ok, herr := target.Has(t.Context(), b.Descriptor); !ok || have != 0 || errors.Join(err, herr) != nil {
		t.Errorf("%v, have %d, %v", ok, have, errors.Join(err, herr))
	}
	if bar.done != 100 {
		t.Errorf("%d bytes were told of, want 100", bar.done)
	}
}

// TestPullPastWrongMirror pulls from a mirror that damages every blob, the index
// among them: the files are right.
func TestPullPastWrongMirror(t *testing.T) {
	reg := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server, asked := watched(t, func(w http.ResponseWriter, r *http.Request) bool { reg.ServeHTTP(w, r); return true })
	dir := smallModel(t).write(t)
	if _, err := Push(t.Context(), server.ref(t), dir, nil); err != nil {
		t.Fatal(err)
	}
	var damaged atomic.Int32
	mirror, _ := watched(t, func(w http.ResponseWriter, r *http.Request) bool {
		answer := httptest.NewRecorder()
		reg.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		if strings.Contains(r.URL.Path, "/blobs/") && len(body) > 0 {
			damaged.Add(1)
			for i := 0; i < len(body); i += 50 {
				body[i] ^= 1
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
		return true
	})
	before := len(asked.all())
	o := &PullOptions{Options: Options{StoreOptions: StoreOptions{HostsDir: hostsDir(t, server.host, readMirror(mirror.host))}}}
	sameFiles(t, dir, pullNew(t, server.ref(t), o))
	if damaged.Load() == 0 || slices.ContainsFunc(asked.all()[before:], func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }) {
		t.Errorf("the mirror damaged %d answers", damaged.Load())
	}
}

// TestAllMirrorsFail names each host and its reason, and is of the kind of the
// registry's own answer.
func TestAllMirrorsFail(t *testing.T) {
	broken, _ := watched(t, below("manifests", status(500)))
	server, _ := watched(t, nil)
	down := unused(t)
	src := openMirrored(t, server.ref(t), readMirror(down)+readMirror(broken.host), StoreOptions{})
	for _, try := range []string{"first", "second"} { // now in another order
		_, err := src.Resolve(t.Context())
		if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrRegistry) {
			t.Errorf("%s: %v", try, err)
		}
		for _, says := range []string{server.ref(t).String(), down, "connection refused", broken.host + " answers 500", server.host + " answers 404"} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", try, err, says)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Resolve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestDialedOnce has many wait for one who dials in vain: none of them tries
// again, and a waiting that is canceled ends.
func TestDialedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mirror{turn: make(chan struct{}, 1)}
		m.turn <- struct{}{} // somebody dials
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() {
				_, err := m.source(ctx)
				errs <- err
			}()
		}
		canceled, gone := context.WithCancel(t.Context())
		gone()
		if _, err := m.source(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Second) // of the bubble
		m.note(ErrRegistry)
		<-m.turn
		for range cap(errs) {
			if err := <-errs; !errors.Is(err, ErrRegistry) {
				t.Errorf("got %v", err)
			}
		}
		cancel()
		if !m.resting() {
			t.Error("it does not rest")
		}
		time.Sleep(restTime)
		if m.resting() {
			t.Error("it rests for ever")
		}
		m.note(ErrNotFound)
		if m.resting() {
			t.Error("to lack something is a reason to rest")
		}
	})
}

// TestMirrorsAtOnce reads at many places at the same time while one mirror is
// down and another breaks off now and then.
func TestMirrorsAtOnce(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 98, 50_000)
	mirror, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, get int) bool {
		if get%3 == 0 {
			w.WriteHeader(500)
			return true
		}
		return serveRange(w, r, b.raw, 600)
	}))
	server, _ := watched(t, blobServer(b, func(w http.ResponseWriter, r *http.Request, _ int) bool { return serveRange(w, r, b.raw, -1) }))
	src := openMirrored(t, server.ref(t), readMirror(unused(t))+readMirror(mirror.host), StoreOptions{}).(*mirrorSource)
	var g errgroup.Group
	for i := range int64(16) {
		g.Go(func() error {
			for _, s := range []Source{src, src.elsewhere()} {
				got, err := readRange(t.Context(), s, b.Descriptor, i*3000, 3000)
				if err != nil || !bytes.Equal(got, b.raw[i*3000:(i+1)*3000]) {
					return fmt.Errorf("part %d: %d bytes, %w", i, len(got), err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
