package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The hosts of a world. Only the first is one that the user has credentials for.
const (
	home     = "https://registry.test"
	storage  = "https://storage.test"
	tokens   = "https://tokens.test"
	basic    = "Basic "
	bearer   = "Bearer "
	password = basic + "dXNlcjpzZWNyZXQtb2YtcmVnaXN0cnkudGVzdA==" // worldUser:worldPassword
)

// signature is what makes the address of a storage a permission.
const signature = "sig=20-secret-letters"

// worldCase is a case with several hosts.
type worldCase struct {
	hostile

	push  bool
	host  string // of the registry; "": registry.test
	set   func(w *world, f *front)
	trust []string // who may see credentials; nil: home alone
	never string   // a host that nothing may ask
}

// redirect sends requests of a kind to another host, where the front serves them.
func redirect(w *world, f *front, k kind, to string) {
	w.hosts[to] = serveAs(f.next, "")
	f.arm(first(always, k, func(_ *front, rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, to+r.URL.Path+"?"+signature, http.StatusTemporaryRedirect)
		return true
	}))
}

// serveAs serves only who shows this Authorization. Storages refuse any: the
// address is the permission.
func serveAs(next http.Handler, authorization string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != authorization {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// challenges has a host want tokens of a realm. Each token is good for so many
// requests.
func challenges(w *world, f *front, host, realm string, uses int64) {
	var mu sync.Mutex
	left := map[string]int64{}
	issued := 0
	w.hosts[host] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), bearer)
		mu.Lock()
		good := left[token] > 0
		left[token]--
		mu.Unlock()
		if !good {
			rw.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q,service=%q", realm, host))
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.ServeHTTP(rw, r)
	})
	at, err := url.Parse(realm)
	if err != nil {
		panic(err)
	}
	w.hosts[at.Scheme+"://"+at.Host] = atPath(w.hosts[at.Scheme+"://"+at.Host], at.Path, func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		issued++
		token := fmt.Sprint("token-", issued)
		left[token] = uses
		_, _ = fmt.Fprintf(rw, `{"token":%q}`, token)
	})
}

// atPath serves a path by do, and the others by next.
func atPath(next http.Handler, path string, do http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if next == nil || r.URL.Path == path {
			do(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// worldCases are about who is asked, and who is shown what.
var worldCases = []worldCase{
	{
		hostile: hostile{name: "storage on another host"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, storage) },
	},
	{
		hostile: hostile{name: "storage on another port of the registry's host"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, home+":8443") },
	},
	{
		hostile: hostile{name: "storage over plain http", code: exitRegistry, says: "plain http is refused"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, "http://storage.test") },
		never:   "http://storage.test",
	},
	{
		hostile: hostile{name: "registry that redirects to plain http", code: exitRegistry},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, "http://registry.test") },
		never:   "http://registry.test",
	},
	{
		hostile: hostile{name: "storage at a private address", code: exitRegistry, says: "private address"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, "https://10.1.2.3") },
		never:   "10.1.2.3",
	},
	{
		hostile: hostile{name: "storage on this machine", code: exitRegistry, says: "private address"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, "https://127.0.0.1:1") },
		never:   "127.0.0.1:1",
	},
	{
		hostile: hostile{name: "storage at a metadata service", code: exitRegistry, says: "private address"},
		set:     func(w *world, f *front) { redirect(w, f, getBlob, "https://169.254.169.254") },
		never:   "169.254.169.254",
	},
	{
		hostile: hostile{name: "storage that redirects in a circle", code: exitRegistry, says: "redirects"},
		set: func(w *world, f *front) {
			redirect(w, f, getBlob, storage)
			w.hosts[storage] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, storage+r.URL.Path, http.StatusTemporaryRedirect)
			})
		},
	},
	{
		hostile: hostile{name: "storage address that has expired"},
		set:     func(w *world, f *front) { expires(w, f, 1) },
	},
	{
		hostile: hostile{name: "storage address that expires for ever", code: exitRegistry, says: "403", waits: true},
		set:     func(w *world, f *front) { expires(w, f, always) },
	},
	{
		hostile: hostile{name: "storage that wants credentials", code: exitRegistry},
		set: func(w *world, f *front) {
			redirect(w, f, getBlob, storage)
			wantsPassword(w, storage)
		},
	},
	{
		hostile: hostile{name: "storage that wants tokens of its own", code: exitRegistry, may: true},
		set: func(w *world, f *front) {
			redirect(w, f, getBlob, storage)
			challenges(w, f, storage, storage+"/token", always)
		},
	},
	{
		hostile: hostile{name: "tokens of another host"}, trust: []string{home, tokens},
		set: func(w *world, f *front) { challenges(w, f, home, tokens+"/token", always) },
	},
	{
		hostile: hostile{name: "token that expires in the middle"}, trust: []string{home, tokens},
		set: func(w *world, f *front) { challenges(w, f, home, tokens+"/token", 4) },
	},
	{
		hostile: hostile{name: "tokens over plain http", code: exitRegistry, says: "not allowed"},
		set:     func(w *world, f *front) { challenges(w, f, home, "http://tokens.test/token", always) },
		never:   "http://tokens.test",
	},
	{
		hostile: hostile{name: "tokens at a private address", code: exitRegistry},
		set:     func(w *world, f *front) { challenges(w, f, home, "https://10.1.2.3/token", always) },
		never:   "10.1.2.3",
	},
	{
		hostile: hostile{name: "tokens by way of a redirect"}, trust: []string{home, tokens},
		set: func(w *world, f *front) {
			challenges(w, f, home, tokens+"/token", always)
			w.hosts[storage] = serveAs(w.hosts[tokens], "")
			w.hosts[tokens] = http.RedirectHandler(storage+"/token", http.StatusTemporaryRedirect)
		},
	},
	{
		hostile: hostile{name: "token server down", code: exitRegistry, waits: true}, trust: []string{home, tokens},
		set: func(w *world, f *front) {
			challenges(w, f, home, tokens+"/token", always)
			delete(w.hosts, tokens)
		},
	},
	{
		hostile: hostile{name: "token of a MiB", code: exitRegistry}, trust: []string{home, tokens},
		set: func(w *world, f *front) {
			challenges(w, f, home, tokens+"/token", always)
			w.hosts[tokens] = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(rw, `{"token":%q}`, strings.Repeat("x", 1<<20))
			})
		},
	},
	{
		hostile: hostile{name: "no token in the answer", code: exitRegistry}, trust: []string{home, tokens},
		set: func(w *world, f *front) {
			challenges(w, f, home, tokens+"/token", always)
			w.hosts[tokens] = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, `{}`) })
		},
	},
	{
		hostile: hostile{name: "upload at another host"}, push: true,
		set: func(w *world, f *front) {
			w.hosts[storage] = serveAs(f, "")
			f.arm(first(always, beginBlob, altered(func(rec *httptest.ResponseRecorder) {
				at, err := url.Parse(rec.Header().Get("Location"))
				if err != nil {
					panic(err)
				}
				at.Scheme, at.Host = "https", "storage.test"
				rec.Header().Set("Location", at.String())
			})))
		},
	},
	{
		hostile: hostile{name: "upload over plain http", code: exitRegistry, may: true}, push: true, never: "http://registry.test",
		set: func(_ *world, f *front) {
			f.arm(first(always, beginBlob, altered(func(rec *httptest.ResponseRecorder) {
				at, err := url.Parse(rec.Header().Get("Location"))
				if err != nil {
					panic(err)
				}
				at.Scheme, at.Host = "http", "registry.test"
				rec.Header().Set("Location", at.String())
			})))
		},
	},
	{hostile: hostile{name: "certificate of an unknown authority", code: exitRegistry, says: "signed by an authority"}, host: "unknown.test"},
	{hostile: hostile{name: "certificate that has expired", code: exitRegistry, says: "has expired"}, host: "expired.test"},
	{hostile: hostile{name: "certificate for another name", code: exitRegistry, says: "is for another name"}, host: "other.test"},
	{hostile: hostile{name: "client certificate wanted", code: exitRegistry, says: "--cert-file"}, host: "members.test"},
}

// expires has a storage refuse the first n addresses that it is asked for.
func expires(w *world, f *front, n int64) {
	redirect(w, f, getBlob, storage)
	next := w.hosts[storage]
	var seen atomic.Int64
	w.hosts[storage] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if seen.Add(1) <= n {
			http.Error(rw, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// wantsPassword has a host want the user's password.
func wantsPassword(w *world, host string) {
	next := w.hosts[host]
	w.hosts[host] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != password {
			rw.Header().Set("WWW-Authenticate", "Basic realm=x")
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// inWorld runs a case in a world of its own, where the registry wants a password.
func (s *faults) inWorld(t *testing.T, c *worldCase) {
	w := newWorld(t)
	host := c.host
	if host == "" {
		host = strings.TrimPrefix(home, "https://")
	}
	f := newFront(t, s.registry.Addr, s.layers, nil)
	w.hosts["https://"+host] = f
	wantsPassword(w, "https://"+host)
	if c.set != nil {
		c.set(w, f)
	}
	u := w.citizen(host)
	args := []string{"pull", "--verify", host + "/org/model:v1", "-o", t.TempDir() + "/out"}
	if c.push {
		args = []string{"push", host + "/org/elsewhere:v1", s.dir}
	}
	r := u.attempt(&c.hostile, args...)
	for _, secret := range []string{worldPassword, password, signature} {
		if strings.Contains(r.Stderr, secret) {
			t.Errorf("standard error has %q:\n%s", secret, r.Stderr)
		}
	}
	s.count(t, &c.hostile, r, 0)
	trust := c.trust
	if trust == nil {
		trust = []string{home}
	}
	w.trusted(trust...)
	if c.never != "" && w.asked(c.never) > 0 {
		t.Errorf("%s was asked", c.never)
	}
	if c.code == 0 && w.asked(home) == 0 {
		t.Error("the registry was not asked: this proves nothing")
	}
}

// eachWorld runs the cases with several hosts.
func (s *faults) eachWorld(t *testing.T) {
	for _, c := range worldCases {
		t.Run(c.name, func(t *testing.T) {
			if c.waits {
				slow(t)
			}
			t.Parallel()
			s.inWorld(t, &c)
		})
	}
}
