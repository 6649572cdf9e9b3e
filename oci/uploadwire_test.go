package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

func TestUploadLocation(t *testing.T) {
	for _, tt := range []struct{ from, said, want string }{
		{"https://a.example/v2/x/", "/v2/y?z=1", "https://a.example/v2/y?z=1"},
		{"https://a.example/v2/x/", "y#part", "https://a.example/v2/x/y"},
		{"https://a.example/v2/x/", "https://b.example/y", "https://b.example/y"},
		{"https://a.example/v2/x/", "http://a.example/y", "https://a.example/y"}, // behind a proxy
		{"https://a.example/v2/x/", "http://b.example/y", ""},
		{"https://a.example/v2/x/", "http://a.example:80/y", ""},
		{"https://a.example/v2/x/", "ftp://a.example/y", ""},
		{"https://a.example/v2/x/", "https://user:pass@a.example/y", ""},
		{"https://a.example/v2/x/", "https://10.0.0.1/y", ""},
		{"https://a.example/v2/x/", "https://localhost/y", ""},
		{"https://a.example/v2/x/", "https://[::ffff:169.254.169.254]/y", ""},
		{"https://a.example/v2/x/", "", ""},
		{"https://a.example/v2/x/", "https:///y", ""},
		{"https://a.example/v2/x/", "%zz", ""},
		{"https://10.0.0.1/v2/x/", "https://10.0.0.2/y", "https://10.0.0.2/y"},
		{"http://10.0.0.1/v2/x/", "http://10.0.0.2:9/y", "http://10.0.0.2:9/y"},
	} {
		from, err := url.Parse(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{origin: from, host: from.Host}
		to, err := w.location(uploadAnswer{header: http.Header{"Location": {tt.said}}, from: from})
		if got := fmt.Sprint(to); tt.want == "" && !errors.Is(err, ErrRegistry) || tt.want != "" && got != tt.want {
			t.Errorf("%s: %q leads to %s, %v, want %q", tt.from, tt.said, got, err, tt.want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/x", "https://A.example:443/y", true},
		{"http://a.example/x", "http://a.example:80/y", true},
		{"https://a.example", "http://a.example", false},
		{"https://a.example", "https://a.example:444", false},
		{"https://a.example", "https://b.example", false},
		{"http://a.example:443", "https://a.example:443", false},
	} {
		a, _ := url.Parse(tt.a)
		b, _ := url.Parse(tt.b)
		if sameOrigin(a, b) != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, !tt.want)
		}
	}
}

// TestUploadsToPlainHosts has a host that sends uploads to another over http: who
// wrote into hosts.toml that it speaks http has allowed that, and nobody else.
func TestUploadsToPlainHosts(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 111, 100)
	var stored bytes.Buffer
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&stored, r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(storage.Close)
	d := newDepot(nil)
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return d.serve(w, r)
		}
		w.Header().Set("Location", "http://storage.example/x")
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	for _, file := range []string{"", "server = 'http://" + s.host + "'"} {
		stored.Reset()
		target, err := openRegistryTarget(t.Context(), s.ref(t), &StoreOptions{HostsDir: hostsDir(t, s.host, file)}, hasty)
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		far := target.(*registryTarget).far
		far.Proxy = nil
		far.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, storage.Listener.Addr().String())
		}
		err = store(t, target, b)
		if file == "" && (!errors.Is(err, errPlainHTTP) || stored.Len() != 0) || file != "" && (err != nil || !bytes.Equal(stored.Bytes(), b.raw)) {
			t.Errorf("%q: %d bytes arrived, %v", file, stored.Len(), err)
		}
	}
}

// TestUploadsCarryNoCredentialsElsewhere sends an upload to another port of the
// registry's host: by the Location of the upload, by that of a chunk, and by a
// redirect of the PUT.
func TestUploadsCarryNoCredentialsElsewhere(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 110, 5000)
	for _, way := range []string{"Location", "chunk", "redirect", "stays"} {
		t.Run(way, func(t *testing.T) {
			var leaked, served atomic.Int32
			var stored bytes.Buffer
			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
					leaked.Add(1)
				}
				_, _ = io.Copy(&stored, r.Body)
				w.WriteHeader(map[string]int{"PATCH": 202, "PUT": 201}[r.Method])
			}))
			t.Cleanup(storage.Close)
			d := newDepot(nil)
			s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if user, pass, _ := r.BasicAuth(); user != "user" || pass != "pass" {
					w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}
				switch {
				case !strings.Contains(r.URL.Path, "/uploads/"):
				case way == "Location" && r.Method == http.MethodPost:
					w.Header().Set("Location", storage.URL+"/x?signature=1")
					w.WriteHeader(http.StatusAccepted)
					return true
				case way == "chunk" && r.Method == http.MethodPatch:
					_, _ = io.Copy(&stored, r.Body)
					w.Header().Set("Location", storage.URL+"/x")
					w.WriteHeader(http.StatusAccepted)
					return true
				case way == "redirect" && r.Method == http.MethodPut:
					discard(r)
					http.Redirect(w, r, storage.URL+"/x", http.StatusTemporaryRedirect)
					return true
				}
				return d.serve(w, r)
			})
			target, err := openRegistryTarget(t.Context(), s.ref(t), &StoreOptions{Keychain: secret{}}, hasty)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			target.(*registryTarget).chunk = 2000
			target.(*registryTarget).bounded.Store(way == "chunk")
			if err := store(t, target, b); err != nil {
				t.Fatal(err)
			}
			if way == "stays" {
				_, _ = stored.Write(d.blobs[b.Digest.String()])
			} else if served.Load() == 0 {
				t.Error("nothing was tested")
			}
			if !bytes.Equal(stored.Bytes(), b.raw) {
				t.Errorf("%d wrong bytes arrived", stored.Len())
			}
			if leaked.Load() != 0 {
				t.Errorf("%d requests carried credentials", leaked.Load())
			}
		})
	}
}

// TestUploadRedirectsEnd follows redirects, though not for ever.
func TestUploadRedirectsEnd(t *testing.T) {
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/uploads/") {
			return false
		}
		http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
		return true
	})
	if err := store(t, s.target(t), randomThing(mediatypes.BlockLayer, 111, 10)); !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("got %v", err)
	}
	if n := s.count("POST"); n != maxRedirects {
		t.Errorf("%d requests", n)
	}
}

// TestUploadTokenExpires has the token end between the beginning of an upload and
// its body: the body is sent again from its beginning.
func TestUploadTokenExpires(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 112, 200_000)
	d := newDepot(nil)
	var tokens, refused atomic.Int32
	var s *stub
	s = newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			_, _ = fmt.Fprintf(w, `{"token":"t%d"}`, tokens.Add(1))
			return true
		}
		good := r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", tokens.Load())
		if good && r.Method == http.MethodPut && refused.Add(1) == 1 {
			discard(r)
			good = false
		}
		if !good {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, s.host))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return d.serve(w, r)
	})
	if err := store(t, s.target(t), b); err != nil || d.opened != 1 || !bytes.Equal(d.blobs[b.Digest.String()], b.raw) {
		t.Errorf("%v, %d uploads", err, d.opened)
	}
}

// TestUploadCanceled cancels in the middle of a body that the registry does not
// read on.
func TestUploadCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := newDepot(nil)
	gone := make(chan struct{})
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			cancel()
			<-gone
			return true
		}
		return d.serve(w, r)
	})
	defer close(gone)
	w, err := s.target(t).Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := randomThing(mediatypes.BlockLayer, 113, 16<<20) // more than fits into the buffers on the way
	if _, err := w.Write(b.raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx, b.Descriptor); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := s.count("PUT") + s.count("DELETE"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestUploadStalls has the registry stop reading: the upload goes on elsewhere.
func TestUploadStalls(t *testing.T) {
	d := newDepot(nil)
	gone := make(chan struct{})
	var puts atomic.Int32
	s := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && puts.Add(1) == 1 {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			<-gone
			return true
		}
		return d.serve(w, r)
	})
	defer close(gone)
	wait := hasty
	wait.idle = 100 * time.Millisecond
	target, err := openRegistryTarget(t.Context(), s.ref(t), nil, wait)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	b := randomThing(mediatypes.BlockLayer, 114, 16<<20)
	if err := store(t, target, b); err != nil || puts.Load() != 2 || !bytes.Equal(d.blobs[b.Digest.String()], b.raw) {
		t.Errorf("%v after %d PUTs", err, puts.Load())
	}
}

// TestFeedPatience gives the registry little time to take bytes, from one to the
// next, and much to think about them.
func TestFeedPatience(t *testing.T) {
	const silence = time.Second
	for _, tt := range []struct {
		name string
		r    uploadRequest
		read int64         // of the body
		want time.Duration // from then to the end
	}{
		{"POST", uploadRequest{}, 0, silence},
		{"PUT without a body", uploadRequest{final: true}, 0, commitTimeout},
		{"PUT, not begun", uploadRequest{n: 10, final: true}, 0, silence},
		{"PUT, on its way", uploadRequest{n: 10, final: true}, 9, silence},
		{"PUT, sent", uploadRequest{n: 10, final: true}, 10, commitTimeout},
		{"PATCH, on its way", uploadRequest{n: 10}, 9, silence},
		{"PATCH, sent", uploadRequest{n: 10}, 10, commitTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.r.body = bytes.NewReader(make([]byte, 10))
				f := &feed{request: tt.r, silence: silence}
				ended := make(chan time.Time, 1)
				f.start(func() { ended <- time.Now() })
				body := f.body()
				for range tt.read {
					time.Sleep(silence - 1)
					if n, err := body.Read(make([]byte, 1)); n != 1 || err != nil {
						t.Fatal(n, err)
					}
				}
				last := time.Now()
				if took := (<-ended).Sub(last); took != tt.want {
					t.Errorf("ended after %v, want %v", took, tt.want)
				}
				if sent := f.stop(); sent != tt.read {
					t.Errorf("%d bytes were sent, want %d", sent, tt.read)
				}
				if n, err := body.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("it gives %d bytes after its end, %v", n, err)
				}
			})
		})
	}
}

// TestWireKeepsCredentials counts what goes with credentials: requests to the
// registry, and to it alone.
func TestWireKeepsCredentials(t *testing.T) {
	var with, without []string
	count := func(to *[]string) *http.Client {
		return &http.Client{CheckRedirect: stay, Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			*to = append(*to, r.URL.String())
			h, status := http.Header{}, http.StatusOK
			if r.URL.Path == "/away" {
				h.Set("Location", "https://storage.example/there")
				status = http.StatusPermanentRedirect
			}
			return &http.Response{StatusCode: status, Header: h, Body: http.NoBody, Request: r}, nil
		})}
	}
	w := &wire{auth: count(&with), bare: count(&without), silence: time.Minute}
	for _, at := range []string{"https://a.example/", "https://a.example:443/b", "https://a.example:8443/", "http://a.example/", "https://b.example/", "https://a.example/away"} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.do(t.Context(), uploadRequest{method: http.MethodPut, at: u}, http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(with, " "), "https://a.example/ https://a.example:443/b https://a.example/away"; got != want {
		t.Errorf("with credentials: %s, want %s", got, want)
	}
	if got, want := strings.Join(without, " "), "https://a.example:8443/ http://a.example/ https://b.example/ https://storage.example/there"; got != want {
		t.Errorf("without: %s, want %s", got, want)
	}
}

// TestWritesRespectRetryAfter has a registry ask for pauses between writes.
func TestWritesRespectRetryAfter(t *testing.T) {
	for said, want := range map[string]time.Duration{"7": 7 * time.Second, "1000000000": maxRetryAfter, "": 0} {
		synctest.Test(t, func(t *testing.T) {
			puts := 0
			rt := writes{roundTripFunc(func(r *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}
				if r.Method == http.MethodPut {
					if puts++; puts == 1 {
						resp.StatusCode, resp.Header = http.StatusTooManyRequests, http.Header{"Retry-After": {said}}
					}
				}
				return resp, nil
			})}
			target := &registryTarget{registry: &registry{wait: hasty}}
			start := time.Now()
			err := target.persist(t.Context(), func(ctx context.Context) error {
				resp, err := rt.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodPut, "/", strings.NewReader("x")))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				after, err := rt.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodDelete, "/", nil))
				if err != nil {
					return err
				}
				defer after.Body.Close()
				return transport.CheckError(resp, http.StatusNoContent)
			})
			if took := time.Since(start).Truncate(time.Second); err != nil || took != want {
				t.Errorf("%q: %v after %v, want %v", said, err, took, want)
			}
		})
	}
}
