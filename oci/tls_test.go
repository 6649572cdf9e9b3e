package oci

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, in PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert := a.sign(t, a.cert)
	a.file = filepath.Join(t.TempDir(), "ca.crt")
	writePEM(t, a.file, "CERTIFICATE", cert.Certificate[0])
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a certificate and its key; that of the authority signs itself.
func (a *authority) sign(t testing.TB, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// server makes a certificate for 127.0.0.1, changed by f.
func (a *authority) server(t testing.TB, f func(c *x509.Certificate)) tls.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"registry.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if f != nil {
		f(c)
	}
	return a.sign(t, c)
}

// client writes a client certificate and its key to two files.
func (a *authority) client(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	c := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "client.cert"), filepath.Join(dir, "client.key")
	writePEM(t, certFile, "CERTIFICATE", c.Certificate[0])
	writePEM(t, keyFile, "PRIVATE KEY", key)
	return certFile, keyFile
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveTLS runs a handler, or a registry, and returns its HOST:PORT.
func serveTLS(t testing.TB, c *tls.Config, h http.Handler) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	quiet := log.New(io.Discard, "", 0)
	if h == nil {
		h = ggcr.New(ggcr.Logger(quiet))
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog, srv.TLS = quiet, c
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "https://")
}

// TestTLSFaults has a message of its own for each of what can be wrong with a
// certificate, which says what to do.
func TestTLSFaults(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	clientCert, clientKey := other.client(t)
	trusting := StoreOptions{CAFile: good.file}
	wrongClient := StoreOptions{CAFile: good.file, CertFile: clientCert, KeyFile: clientKey}
	for _, tt := range []struct {
		name string
		conf *tls.Config
		o    StoreOptions
		says string
	}{
		{"an unknown authority", &tls.Config{Certificates: []tls.Certificate{good.server(t, nil)}}, StoreOptions{}, "--ca-file"},
		{"another authority", &tls.Config{Certificates: []tls.Certificate{other.server(t, nil)}}, trusting, "--ca-file"},
		{
			"an expired certificate",
			&tls.Config{Certificates: []tls.Certificate{good.server(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}},
			trusting, "has expired",
		},
		{
			"another name",
			&tls.Config{Certificates: []tls.Certificate{good.server(t, func(c *x509.Certificate) { c.IPAddresses = nil })}},
			trusting, "is for another name",
		},
		{
			"no client certificate",
			&tls.Config{Certificates: []tls.Certificate{good.server(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: good.pool()},
			trusting, "wants a client certificate: name it with --cert-file",
		},
		{
			"another client certificate",
			&tls.Config{Certificates: []tls.Certificate{good.server(t, nil)}, ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(tls.ConnectionState) error { return errors.New("no") }},
			wrongClient, "or another than it was shown",
		},
		{
			"an old client certificate, TLS 1.2",
			&tls.Config{Certificates: []tls.Certificate{good.server(t, nil)}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
			trusting, "it may want a client certificate",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := serveTLS(t, tt.conf, nil)
			_, err := openRegistrySource(t.Context(), parseRef(t, host+"/a"), &tt.o, hasty)
			if !errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), host) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
		})
	}
}

// TestTrust names authorities and client certificates in each of the ways.
func TestTrust(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.client(t)
	both := filepath.Join(t.TempDir(), "both.pem")
	var pair []byte
	for _, f := range []string{certFile, keyFile} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		pair = append(pair, b...)
	}
	if err := os.WriteFile(both, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	host := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool()}, nil)
	docker := t.TempDir()
	own := filepath.Join(docker, strings.Replace(host, ":", "_", 1)+"_")
	if err := os.Symlink(filepath.Dir(certFile), own); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(a.file, filepath.Join(own, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	m := newModel(t, 91)
	for _, tt := range []struct {
		name string
		o    StoreOptions
	}{
		{"options", StoreOptions{CAFile: a.file, CertFile: certFile, KeyFile: keyFile}},
		{"one file", StoreOptions{CAFile: a.file, CertFile: both}},
		{"hosts.toml", StoreOptions{HostsDir: hostsDir(t, host, fmt.Sprintf("server = 'https://%s'\nca = %q\nclient = [[%q, %q]]", host, a.file, certFile, keyFile))}},
		{"hosts.toml without server", StoreOptions{HostsDir: hostsDir(t, host, fmt.Sprintf("ca = [%q]\nclient = %q", a.file, both))}},
		{"a mirror", StoreOptions{HostsDir: hostsDir(t, host, fmt.Sprintf("server = 'http://%s'\n[host.'https://%s']\nca = %q\nclient = %q", unused(t), host, a.file, both))}},
		{"skip_verify", StoreOptions{CertFile: both, HostsDir: hostsDir(t, host, "skip_verify = true")}},
		{"Docker's layout", StoreOptions{HostsDir: docker}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := parseRef(t, host+"/org/model:v1")
			target, err := openRegistryTarget(t.Context(), ref, &tt.o, hasty)
			if err != nil {
				t.Fatal(err)
			}
			m.put(t, target)
			if err := errors.Join(target.Publish(t.Context(), m.index.Descriptor), target.Close()); err != nil {
				t.Fatal(err)
			}
			src, err := openRegistrySource(t.Context(), ref, &tt.o, hasty)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, src, m)
			_ = src.Close()
			if err := Login(t.Context(), host, "user", "pass", &tt.o); err != nil {
				t.Errorf("Login: %v", err)
			}
		})
	}
}

// TestTrustEndsAtTheHost redirects to a storage of another name, to which
// skip_verify does not apply, and which sees no client certificate.
func TestTrustEndsAtTheHost(t *testing.T) {
	b := randomThing(mediatypes.BlockLayer, 92, 1000)
	a, unknown := newAuthority(t), newAuthority(t)
	certFile, keyFile := a.client(t)
	var shown, asked atomic.Int32
	storage := func(by *authority) string {
		c := by.server(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"localhost"}, nil })
		return serveTLS(t, &tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: tls.RequestClientCert}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if len(r.TLS.PeerCertificates) != 0 {
				shown.Add(1)
			}
			serveRange(w, r, b.raw, -1)
		}))
	}
	var to string
	host := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{unknown.server(t, nil)}, ClientAuth: tls.RequireAnyClientCert}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, "https://"+strings.Replace(to, "127.0.0.1", "localhost", 1)+"/x?signature=abc", http.StatusTemporaryRedirect)
		}
	}))
	o := StoreOptions{CAFile: a.file, CertFile: certFile, KeyFile: keyFile}
	src := openMirrored(t, parseRef(t, host+"/a"), fmt.Sprintf("server = 'https://%s'\nskip_verify = true", host), o)
	to = storage(a)
	if got := readBlob(t, src, b.Descriptor, 0, -1); !bytes.Equal(got, b.raw) || asked.Load() != 1 || shown.Load() != 0 {
		t.Errorf("%d bytes; the storage was asked %d times and shown %d certificates", len(got), asked.Load(), shown.Load())
	}
	to = storage(unknown)
	_, err := readRange(t.Context(), src, b.Descriptor, 0, -1)
	if err == nil || !strings.Contains(err.Error(), "the certificate of localhost") || !strings.Contains(err.Error(), "--ca-file") || asked.Load() != 1 {
		t.Errorf("a storage of an unknown authority: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "abc") {
		t.Errorf("%v tells a signature", err)
	}
}
