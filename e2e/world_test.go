package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A world is hosts of any name and address, http and https, behind one proxy. It
// sees every request, so it knows who was shown credentials.
type world struct {
	t      *testing.T
	ca     *authority
	caFile string
	proxy  string

	mu    sync.Mutex
	hosts map[string]http.Handler // by scheme://host:port, the port where it is not the scheme's
	seen  []sighting
}

// sighting is a request that came, or a tunnel that was wanted.
type sighting struct {
	host          string // as in world.hosts; for a tunnel host:port
	authorization string
}

// newWorld returns an empty world. Certificates are made for any name, but for
// those beginning with expired, unknown, and other: see certificate.
func newWorld(t *testing.T) *world {
	w := &world{t: t, ca: newAuthority(t), hosts: map[string]http.Handler{}}
	w.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(w.caFile, w.ca.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.serve(rw, r, "https://"+strings.TrimSuffix(r.Host, ":443"))
	}))
	stranger := newAuthority(t)
	secure.TLS = &tls.Config{
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if strings.HasPrefix(h.ServerName, "unknown.") {
				return stranger.certificate(h.ServerName)
			}
			return w.ca.certificate(h.ServerName)
		},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if !strings.HasPrefix(h.ServerName, "members.") {
				return nil, nil
			}
			return &tls.Config{ClientAuth: tls.RequireAnyClientCert, GetCertificate: secure.TLS.GetCertificate}, nil
		},
	}
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(func() { secure.CloseClientConnections(); secure.Close() })
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.serve(rw, r, "http://"+strings.TrimSuffix(r.Host, ":80"))
			return
		}
		w.note(sighting{host: r.Host})
		raw(rw, func(c *net.TCPConn) { tunnel(c, secure.Listener.Addr().String()) })
	}))
	proxy.Config.ErrorLog = quiet
	proxy.Start()
	t.Cleanup(func() { proxy.CloseClientConnections(); proxy.Close() })
	w.proxy = proxy.URL
	return w
}

// tunnel copies between a connection and addr until either ends.
func tunnel(c net.Conn, addr string) {
	up, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer up.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	_ = c.Close()
	_ = up.Close()
	<-done
}

func (w *world) note(s sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request, host string) {
	w.note(sighting{host, r.Header.Get("Authorization")})
	w.mu.Lock()
	h := w.hosts[host]
	w.mu.Unlock()
	if h == nil {
		http.Error(rw, "no such host in this world", http.StatusBadGateway)
		return
	}
	h.ServeHTTP(rw, r)
}

// trusted checks that nobody but these hosts was shown credentials.
func (w *world) trusted(hosts ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if s.authorization != "" && !slices.Contains(hosts, s.host) {
			w.t.Errorf("%s was shown %q", s.host, s.authorization)
		}
	}
}

// asked returns how many requests and tunnels to a host came.
func (w *world) asked(host string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, s := range w.seen {
		if strings.Contains(s.host, host) {
			n++
		}
	}
	return n
}

// The credentials of whoever is in a world.
const (
	worldUser     = "user"
	worldPassword = "secret-of-registry.test"
)

// citizen returns a user in the world, with credentials for host.
func (w *world) citizen(host string) *user {
	w.t.Helper()
	u := newUser(w.t).with("HTTP_PROXY="+w.proxy, "HTTPS_PROXY="+w.proxy, "NO_PROXY=", "SSL_CERT_FILE="+w.caFile)
	docker := filepath.Join(w.t.TempDir(), "docker")
	if err := os.MkdirAll(docker, 0o700); err != nil {
		w.t.Fatal(err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte(worldUser + ":" + worldPassword))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)
	if err := os.WriteFile(filepath.Join(docker, "config.json"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return u.with("DOCKER_CONFIG=" + docker)
}

// authority issues certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{key, ca}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// certificate returns one for name: one that has expired if the name begins with
// expired, and one for another name if it begins with other.
func (a *authority) certificate(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test host"},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{name},
	}
	switch {
	case strings.HasPrefix(name, "expired."):
		leaf.NotAfter = time.Now().Add(-time.Minute)
	case strings.HasPrefix(name, "other."):
		leaf.DNSNames = []string{"not-" + name}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
