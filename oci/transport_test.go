package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// TestBackoffEndsWithContext cancels while the registry asks for a minute.
func TestBackoffEndsWithContext(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 53, 10)
	ctx, cancel := context.WithCancel(t.Context())
	s := newStub(t, blobServer(b, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		time.AfterFunc(time.Millisecond, cancel)
		return true
	}))
	if _, err := s.source(t, hasty, nil).Blob(ctx, b.Descriptor, 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := s.count("GET blobs"); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestRetryAfter(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "60": time.Minute, "1000000000": time.Minute, "9223372036854775807": time.Minute,
		"-1": 0, "soon": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Minute,
	} {
		if got := retryAfter(v); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

// secret is a Keychain with one user.
type secret struct{}

func (secret) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "user", Password: "pass"}, nil
}

// TestRedirectsCarryNoCredentials redirects blobs to another port of the same
// host, which net/http alone takes for the same place.
func TestRedirectsCarryNoCredentials(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 54, 1000)
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			var leaked, served, expired atomic.Int32
			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
					leaked.Add(1)
				}
				if served.Add(1) == 2 { // as a signed address does after minutes
					expired.Add(1)
					w.WriteHeader(http.StatusForbidden)
					return
				}
				serveRange(w, r, b.raw, 300)
			}))
			t.Cleanup(storage.Close)
			var s *stub
			var authorized atomic.Int32
			s = newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					_, _ = io.WriteString(w, `{"token":"tkn"}`)
					return true
				}
				user, pass, basic := r.BasicAuth()
				switch {
				case scheme == "Basic" && basic && user == "user" && pass == "pass", r.Header.Get("Authorization") == "Bearer tkn":
					authorized.Add(1)
				case scheme == "Basic":
					w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				default:
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, s.host))
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}
				if strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, storage.URL+"/x?signature=1", http.StatusTemporaryRedirect)
					return true
				}
				return false
			})
			if got := readBlob(t, s.source(t, hasty, secret{}), b.Descriptor, 100, -1); !bytes.Equal(got, b.raw[100:]) {
				t.Errorf("%d wrong bytes", len(got))
			}
			if authorized.Load() == 0 || served.Load() < 3 || expired.Load() != 1 {
				t.Errorf("authorized %d, served %d, expired %d: nothing was tested", authorized.Load(), served.Load(), expired.Load())
			}
			if leaked.Load() != 0 {
				t.Errorf("%d requests carried credentials elsewhere", leaked.Load())
			}
		})
	}
}

// TestCertificates speaks to a registry whose authority is unknown, and to one
// that speaks http where https was meant.
func TestCertificates(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ref := parseRef(t, strings.TrimPrefix(srv.URL, "https://")+"/a")
	if _, err := OpenSource(t.Context(), ref, nil); !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("unknown authority: %v", err)
	}
	if err := registryFault("h", &url.Error{Op: "Get", URL: "https://h", Err: http.ErrSchemeMismatch}); !strings.Contains(err.Error(), "--plain-http") {
		t.Errorf("plain http: %v", err)
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestPlainHTTP follows requests to the guard that has the last word.
func TestPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		host  string
		plain bool
		want  string // schemes that reach the network
	}{
		{"ghcr.io", false, "https"},
		{"10.0.0.1:5000", false, "https"},
		{"192.168.1.1", false, "https"},
		{"a.localhost:5000", false, "https"},
		{"127.0.0.1:5000", false, "https http"},
		{"127.0.0.2:5000", false, "https http"},
		{"localhost", false, "https http"},
		{"[::1]:5000", false, "https http"},
		{"10.0.0.1:5000", true, "https http"},
		{"ghcr.io", true, "https http"},
	} {
		t.Run(fmt.Sprintf("%s,%v", tt.host, tt.plain), func(t *testing.T) {
			var mu sync.Mutex
			seen := map[string]bool{}
			next := roundTripFunc(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				seen[r.URL.Scheme] = true
				return nil, errors.New("unplugged")
			})
			reg, below, err := guardedRegistry(tt.host, tt.plain, next, hasty)
			if err != nil {
				t.Fatal(err)
			}
			if err := tryCredentials(t.Context(), reg, authn.Anonymous, below); !errors.Is(err, ErrRegistry) {
				t.Errorf("got %v", err)
			}
			for _, scheme := range []string{"https", "http"} {
				if want := strings.Contains(" "+tt.want+" ", " "+scheme+" "); seen[scheme] != want {
					t.Errorf("%s: %v, want %v", scheme, seen[scheme], want)
				}
			}
		})
	}
	guard := &schemeGuard{loopback: true}
	resp, err := guard.RoundTrip(httptest.NewRequest(http.MethodGet, "http://10.0.0.1/", nil))
	if err == nil {
		defer resp.Body.Close()
	}
	if !errors.Is(err, errPlainHTTP) {
		t.Errorf("a local registry sends elsewhere in clear: %v", err)
	}
}

func TestCheckRedirect(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"https://ghcr.io/x", "https://storage.example/y", true},
		{"https://ghcr.io/x", "https://10.0.0.1/y", false},
		{"https://ghcr.io/x", "https://127.0.0.1:9/y", false},
		{"https://ghcr.io/x", "https://localhost/y", false},
		{"https://ghcr.io/x", "https://169.254.169.254/y", false},
		{"https://ghcr.io/x", "https://[::ffff:10.0.0.1]/y", false},
		{"https://10.0.0.1/x", "https://10.0.0.2/y", true},
	} {
		req := httptest.NewRequest(http.MethodGet, tt.to, nil)
		via := []*http.Request{httptest.NewRequest(http.MethodGet, tt.from, nil)}
		if err := checkRedirect(req, via); (err == nil) != tt.ok {
			t.Errorf("%s -> %s: %v", tt.from, tt.to, err)
		}
	}
	if err := checkRedirect(nil, make([]*http.Request, maxRedirects)); err == nil {
		t.Error("redirects without end")
	}
}

func TestRefuseLinkLocal(t *testing.T) {
	for addr, ok := range map[string]bool{
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1%eth0": false, "fd00:ec2::254": false,
		"10.0.0.1": true, "127.0.0.1": true, "8.8.8.8": true, "2001:db8::1": true,
	} {
		if err := refuseLinkLocal("tcp", netip.AddrPortFrom(netip.MustParseAddr(addr), 80).String(), nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
