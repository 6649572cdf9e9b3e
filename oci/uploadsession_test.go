package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// fault is what goes wrong with one request of an upload. The zero value is
// nothing.
type fault struct {
	status int    // answered, without what the request asks for
	code   string // with it
	keep   int64  // bytes of the body that are stored before that
	cut    bool   // the connection, in place of an answer
	forget bool   // the session is gone
	said   string // the Range of the answer; "" is the true one, "-" none
}

// all is fault.keep for the whole body.
const all = 1 << 40

// depot is a registry that takes blobs in the ways of the distribution spec and
// goes wrong as script says, which is asked with the method of each request of
// an upload and its number, from 1.
type depot struct {
	script  func(method string, n int) fault
	least   int64 // OCI-Chunk-Min-Length; 0: none
	lenient bool  // whatever is sent is appended

	mu       sync.Mutex
	blobs    map[string][]byte
	sessions map[string][]byte
	opened   int
	counts   map[string]int
	arrived  int64   // bytes of bodies
	chunks   []int64 // sizes of the PATCHes
}

func newDepot(script func(method string, n int) fault) *depot {
	return &depot{script: script, blobs: map[string][]byte{}, sessions: map[string][]byte{}, counts: map[string]int{}}
}

// on returns a script with one fault.
func on(method string, n int, f fault) func(string, int) fault {
	return func(m string, i int) fault {
		if m == method && i == n {
			return f
		}
		return fault{}
	}
}

func (d *depot) serve(w http.ResponseWriter, r *http.Request) bool {
	dir, id, ok := strings.Cut(r.URL.Path, "/blobs/")
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id, upload := strings.CutPrefix(id, "uploads/")
	if !upload {
		b, ok := d.blobs[id]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
		return true
	}
	d.counts[r.Method]++
	var f fault
	if d.script != nil {
		f = d.script(r.Method, d.counts[r.Method])
	}
	have, known := d.sessions[id]
	if known && r.Method == http.MethodPatch && !d.inOrder(r, len(have)) && !d.lenient {
		f = fault{status: http.StatusRequestedRangeNotSatisfiable}
	}
	if known {
		have = d.take(r, have, f)
		d.sessions[id] = have
	}
	if f.forget {
		delete(d.sessions, id)
	}
	if f.cut {
		panic(http.ErrAbortHandler)
	}
	if f.status == 0 && !known && r.Method != http.MethodPost {
		f.status, f.code = http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"
	}
	if f.status != 0 {
		w.WriteHeader(f.status)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"scripted"}]}`, f.code)
		return true
	}
	d.answer(w, r, dir, id, f.said)
	return true
}

// inOrder checks the Content-Range of a PATCH, and notes its size.
func (d *depot) inOrder(r *http.Request, have int) bool {
	d.chunks = append(d.chunks, r.ContentLength)
	return r.Header.Get("Content-Range") == fmt.Sprintf("%d-%d", have, int64(have)+r.ContentLength-1)
}

// take appends the body of a request to what a session has.
func (d *depot) take(r *http.Request, have []byte, f fault) []byte {
	most := int64(all)
	if f.status != 0 || f.cut {
		most = f.keep
	}
	b, _ := io.ReadAll(io.LimitReader(r.Body, most))
	d.arrived += int64(len(b))
	return append(have, b...)
}

// answer does what a request asks for.
func (d *depot) answer(w http.ResponseWriter, r *http.Request, dir, id, said string) {
	switch r.Method {
	case http.MethodPost:
		d.opened++
		id = strconv.Itoa(d.opened)
		d.sessions[id] = []byte{}
		if d.least > 0 {
			w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(d.least, 10))
		}
	case http.MethodDelete:
		delete(d.sessions, id)
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPut:
		b := d.sessions[id]
		want := digest.Digest(r.URL.Query().Get("digest"))
		if want.Validate() != nil || want.Algorithm().FromBytes(b) != want || r.URL.Query().Get("state") != "a/b" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DIGEST_INVALID"}]}`)
			return
		}
		d.blobs[want.String()] = b
		delete(d.sessions, id)
		w.WriteHeader(http.StatusCreated)
		return
	}
	if said == "" {
		said = fmt.Sprintf("0-%d", max(len(d.sessions[id])-1, 0))
	}
	if said != "-" {
		w.Header().Set("Range", said)
	}
	w.Header().Set("Location", dir+"/blobs/uploads/"+id+"?state=a/b")
	w.WriteHeader(http.StatusAccepted)
}

// target opens the depot with chunks of that size.
func (d *depot) target(t *testing.T, chunk int64) *registryTarget {
	t.Helper()
	target := newStub(t, d.serve).target(t).(*registryTarget)
	target.chunk = chunk
	return target
}

// store commits b and returns the error.
func store(t *testing.T, target Target, b thing) error {
	t.Helper()
	w, err := target.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b.raw); err != nil {
		t.Fatal(err)
	}
	return w.Commit(t.Context(), b.Descriptor)
}

// TestUploadInChunks lets one thing go wrong with an upload: what arrives is the
// blob, and no more is sent twice than must be.
func TestUploadInChunks(t *testing.T) {
	const size, chunk = 100_000, 30_000
	twice := func(status int) fault { return fault{status: status} }
	for _, tt := range []struct {
		name    string
		bounded bool // chunks from the start
		script  func(string, int) fault
		opened  int   // sessions
		puts    int   // PUTs
		again   int64 // bytes that arrive twice, at most
	}{
		{"no fault", false, nil, 1, 1, 0},
		{"no fault, chunks", true, nil, 1, 1, 0},
		{"PUT cut: goes on after what arrived", false, on("PUT", 1, fault{cut: true, keep: 45_000}), 1, 2, 0},
		{"PUT cut before a byte", false, on("PUT", 1, fault{cut: true}), 2, 2, 0},
		{"PUT cut after the last byte", false, on("PUT", 1, fault{cut: true, keep: all}), 1, 2, 0},
		{"PUT 413", false, on("PUT", 1, twice(413)), 2, 2, 0},
		{"PUT 504", false, on("PUT", 1, fault{status: 504, keep: all}), 1, 2, 0},
		{"PUT 502, nothing kept", false, on("PUT", 1, twice(502)), 2, 2, 0},
		{"PUT 404", false, on("PUT", 1, fault{status: 404, forget: true}), 2, 2, 0},
		{"PUT DIGEST_INVALID", false, on("PUT", 1, fault{status: 400, code: "DIGEST_INVALID", keep: all}), 2, 2, size},
		{"PATCH cut", true, on("PATCH", 2, fault{cut: true, keep: 10_000}), 1, 1, 0},
		{"PATCH cut, state lost", true, on("PATCH", 2, fault{cut: true, keep: 10_000, forget: true}), 2, 1, chunk + 10_000},
		{"PATCH accepted, then 504", true, on("PATCH", 2, fault{status: 504, keep: all}), 1, 1, 0},
		{"PATCH 503", true, on("PATCH", 1, twice(503)), 2, 1, 0},
		{"PATCH 503 later", true, on("PATCH", 3, twice(503)), 1, 1, 0},
		{"session gone in the middle", true, on("PATCH", 3, fault{status: 404, forget: true}), 2, 1, 2 * chunk},
		{"PATCH 416 in the middle", true, on("PATCH", 3, twice(416)), 2, 1, 2 * chunk},
		{"PATCH answers a stale range", true, on("PATCH", 2, fault{said: "0-29999"}), 2, 1, 2 * chunk},
		{"PATCH answers a range beyond", true, on("PATCH", 2, fault{said: "0-60000"}), 2, 1, 2 * chunk},
		{"PATCH answers nonsense", true, on("PATCH", 2, fault{said: "60000"}), 2, 1, 2 * chunk},
		{"PATCH answers no range", true, on("PATCH", 2, fault{said: "-"}), 1, 1, 0},
		{"last PUT DIGEST_INVALID", true, on("PUT", 1, fault{status: 400, code: "DIGEST_INVALID"}), 2, 2, size},
		{"last PUT 504", true, on("PUT", 1, twice(504)), 1, 2, 0},
		{"last PUT cut", true, on("PUT", 1, fault{cut: true}), 1, 2, 0},
		{"POST 503", true, on("POST", 1, twice(503)), 1, 1, 0},
		{"no PATCH: 404", true, on("PATCH", 1, twice(404)), 2, 1, 0},
		{"no PATCH: 405", true, on("PATCH", 1, twice(405)), 2, 1, 0},
		{"no PATCH: 416", true, on("PATCH", 1, fault{status: 416, keep: all}), 2, 1, chunk},
		{"no PATCH: 501", true, on("PATCH", 1, twice(501)), 2, 1, 0},
		{"no PATCH: it answers a stale range", true, on("PATCH", 1, fault{said: "0-0"}), 2, 1, chunk},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDepot(tt.script)
			target := d.target(t, chunk)
			target.bounded.Store(tt.bounded)
			b := randomThing(mediatypes.BlockLayer, 90, size)
			if err := store(t, target, b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(d.blobs[b.Digest.String()], b.raw) {
				t.Error("another blob arrived")
			}
			if len(d.sessions) != 0 {
				t.Errorf("%d uploads are left open", len(d.sessions))
			}
			if d.opened != tt.opened || d.counts["PUT"] != tt.puts {
				t.Errorf("%d uploads with %d PUTs, want %d and %d", d.opened, d.counts["PUT"], tt.opened, tt.puts)
			}
			if most := size + tt.again; d.arrived > most {
				t.Errorf("%d bytes arrived, want at most %d", d.arrived, most)
			}
		})
	}
}

// TestUploadAsksBeforeItGoesOn has the registry say wrong things of what it has
// after a fault: the blob is sent anew.
func TestUploadAsksBeforeItGoesOn(t *testing.T) {
	for said, opened := range map[string]int{
		"":                       1, // the truth
		"bytes=0-3999":           1,
		"0-1000":                 2, // less than was acknowledged
		"0-0":                    2,
		"0-5000":                 2, // more than was sent
		"0-":                     2,
		"1000-3999":              2,
		"-":                      2, // nothing
		"0--1":                   2,
		"0-99999999999999999999": 2,
	} {
		t.Run(said, func(t *testing.T) {
			d := newDepot(func(method string, n int) fault {
				switch {
				case method == "PATCH" && n == 2:
					return fault{cut: true, keep: 2000}
				case method == "GET":
					return fault{said: said}
				}
				return fault{}
			})
			d.lenient = true
			target := d.target(t, 2000)
			target.bounded.Store(true)
			b := randomThing(mediatypes.BlockLayer, 91, 10_000)
			if err := store(t, target, b); err != nil {
				t.Fatal(err)
			}
			if d.opened != opened || d.counts["PUT"] != 1 {
				t.Errorf("%d uploads, want %d; %d PUTs, want 1", d.opened, opened, d.counts["PUT"])
			}
		})
	}
}

// TestUploadGivesUp has things go wrong for ever: the end comes, and says of what
// kind it is.
func TestUploadGivesUp(t *testing.T) {
	always := func(method string, f fault) func(string, int) fault {
		return func(m string, _ int) fault {
			if m == method {
				return f
			}
			return fault{}
		}
	}
	for _, tt := range []struct {
		name    string
		bounded bool
		script  func(string, int) fault
		want    error
		says    string
		opened  int
	}{
		{"DIGEST_INVALID", true, always("PUT", fault{status: 400, code: "DIGEST_INVALID"}), ErrRegistry, "DIGEST_INVALID scripted", hasty.tries},
		{"sessions that are gone", true, func(m string, n int) fault {
			if m == "PATCH" && n%2 == 0 {
				return fault{status: 404, forget: true}
			}
			return fault{}
		}, ErrRegistry, "404 Not Found", hasty.tries},
		{"stale ranges", true, func(m string, n int) fault {
			if m == "PATCH" && n%2 == 0 {
				return fault{said: "0-999"}
			}
			return fault{}
		}, ErrRegistry, `the range "0-999"`, hasty.tries},
		{"cut", true, always("PATCH", fault{cut: true}), ErrRegistry, "EOF", hasty.tries},
		{"one PUT, cut", false, always("PUT", fault{cut: true}), ErrRegistry, "EOF", 2},
		{"401", true, always("PATCH", fault{status: 401}), ErrUnauthorized, "oras-bsm login", 1},
		{"403 at the end", true, always("PUT", fault{status: 403}), ErrUnauthorized, "oras-bsm login", 1},
		{"400", true, always("PATCH", fault{status: 400, code: "SIZE_INVALID"}), ErrRegistry, "SIZE_INVALID", 1},
		{"413 to chunks", true, always("PATCH", fault{status: 413}), ErrRegistry, "no layer of this size", 1},
		{"status refused", true, func(m string, n int) fault {
			return map[string]fault{"PATCH": {cut: true, keep: 5}, "GET": {status: 405}}[m]
		}, ErrRegistry, "EOF", hasty.tries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDepot(tt.script)
			target := d.target(t, 1000)
			target.bounded.Store(tt.bounded)
			b := randomThing(mediatypes.BlockLayer, 92, 5000)
			err := store(t, target, b)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if d.opened != tt.opened || len(d.blobs) != 0 {
				t.Errorf("%d uploads, want %d; %d blobs", d.opened, tt.opened, len(d.blobs))
			}
		})
	}
}

// TestUploadLearns sends two blobs to a registry behind a proxy that bounds
// bodies: only the first is tried in one piece. And two to one without PATCH.
func TestUploadLearns(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bounded bool
		script  func(string, int) fault
		patches int
		puts    int
	}{
		{"bounded", false, on("PUT", 1, fault{status: 413}), 10, 3},
		{"one PUT", true, on("PATCH", 1, fault{status: 405}), 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDepot(tt.script)
			target := d.target(t, 1000)
			target.bounded.Store(tt.bounded)
			for seed := range uint64(2) {
				if err := store(t, target, randomThing(mediatypes.BlockLayer, 93+seed, 5000)); err != nil {
					t.Fatal(err)
				}
			}
			if d.counts["PATCH"] != tt.patches || d.counts["PUT"] != tt.puts {
				t.Errorf("%d PATCHes, %d PUTs, want %d and %d", d.counts["PATCH"], d.counts["PUT"], tt.patches, tt.puts)
			}
		})
	}
}

// TestUploadChunkSizes has the registry name the least size of a chunk, and a
// proxy before it the largest.
func TestUploadChunkSizes(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name        string
		least, most int64
		want        []int64
	}{
		{"least", 5 * mib, all, []int64{5 * mib, 4 * mib}},
		{"least is more than all", all, all, []int64{9 * mib}},
		{"less than ours", 1, all, []int64{4 * mib, 4 * mib, mib}},
		{"most", 0, 2 * mib, []int64{4 * mib, mib, mib, mib, mib, mib, mib, mib, mib, mib}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDepot(nil)
			d.least = tt.least
			d.script = func(method string, _ int) fault {
				if n := len(d.chunks); method == "PATCH" && tt.most < all && n == 0 {
					d.chunks = append(d.chunks, 4*mib)
					return fault{status: 413}
				}
				return fault{}
			}
			target := d.target(t, 4*mib)
			target.bounded.Store(true)
			b := randomThing(mediatypes.BlockLayer, 95, 9*mib)
			if err := store(t, target, b); err != nil {
				t.Fatal(err)
			}
			if tt.most < all {
				d.chunks = d.chunks[1:] // noted twice
			}
			if fmt.Sprint(d.chunks) != fmt.Sprint(tt.want) {
				t.Errorf("chunks of %v bytes, want %v", d.chunks, tt.want)
			}
		})
	}
}

// TestUploadCountsProgress cuts more chunks than there are tries, none in vain.
func TestUploadCountsProgress(t *testing.T) {
	const chunk = worthwhile + 1
	d := newDepot(func(method string, n int) fault {
		if method == "PATCH" && n%2 == 0 {
			return fault{cut: true, keep: all}
		}
		return fault{}
	})
	target := d.target(t, chunk)
	target.bounded.Store(true)
	b := randomThing(mediatypes.BlockLayer, 96, 4*hasty.tries*chunk)
	if err := store(t, target, b); err != nil || d.opened != 1 || d.arrived != b.Size {
		t.Errorf("%v after %d uploads and %d bytes", err, d.opened, d.arrived)
	}
}

func TestTakesOnePut(t *testing.T) {
	for host, want := range map[string]bool{
		"ghcr.io": true, "gcr.io": true, "eu.gcr.io": true, "europe-docker.pkg.dev": true,
		"123.dkr.ecr.eu-west-1.amazonaws.com": true, "123.dkr.ecr.cn-north-1.amazonaws.com.cn": true, "public.ecr.aws": true,
		"index.docker.io": false, "notghcr.io": false, "ghcr.io.example": false, "ghcr.io:5000": false, "localhost:5000": false,
	} {
		if got := takesOnePut(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// FuzzRangeLength reads ranges that no registry should send.
func FuzzRangeLength(f *testing.F) {
	for _, s := range []string{"0-0", "0-99", "bytes=0-99", "1-2", "0-", "-", "", "0-18446744073709551615", "0-4611686018427387903"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := rangeLength(s)
		if !ok {
			return
		}
		if back, ok := rangeLength(fmt.Sprintf("0-%d", n-1)); n < 1 || !ok || back != n {
			t.Errorf("%q is %d bytes, and then %d", s, n, back)
		}
	})
}

// FuzzUploadLocation follows whatever a registry says: never to where an upload
// is not safe.
func FuzzUploadLocation(f *testing.F) {
	for _, s := range []string{"/v2/a", "http://reg.example/x", "https://10.0.0.1/", "ftp://a/", "https://u:p@b/", "//c/d", "", "%zz", "https://[::1]:9/"} {
		f.Add(s)
	}
	origin := &url.URL{Scheme: "https", Host: "reg.example", Path: "/v2/a/blobs/uploads/"}
	w := &wire{origin: origin, host: origin.Host}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := w.location(uploadAnswer{header: http.Header{"Location": {s}}, from: origin})
		if err != nil {
			return
		}
		if u.Scheme != "https" || u.Host == "" || u.User != nil || isPrivate(u.Hostname()) {
			t.Errorf("%q leads to %s", s, u)
		}
	})
}
