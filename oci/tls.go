package oci

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"

	"github.com/oras-bsm/oras-bsm/oci/internal/hosts"
)

// maxPEM bounds a file of certificates; those of a system have 200 KiB.
const maxPEM = 4 << 20

// tlsConfigs returns two configurations: own for the host itself and rest for
// where it sends its clients, to a storage or for a token. What own shows, and
// what it lets pass, is not meant for them. Both are the same where they can be.
func tlsConfigs(o *StoreOptions, h *hosts.Host) (own, rest *tls.Config, err error) {
	rest = &tls.Config{}
	if rest.RootCAs, err = authorities(append([]string{o.CAFile}, h.CA...)); err != nil {
		return nil, nil, err
	}
	certs, err := clientCertificates(append(h.Client[:len(h.Client):len(h.Client)], [2]string{o.CertFile, o.KeyFile}))
	if err != nil {
		return nil, nil, err
	}
	if len(certs) == 0 && !h.SkipVerify {
		return rest, rest, nil
	}
	own = rest.Clone()
	own.Certificates = certs
	own.InsecureSkipVerify = h.SkipVerify
	return own, rest, nil
}

// authorities returns the system's and those in files, or nil for the system's
// alone. Empty names are skipped.
func authorities(files []string) (*x509.CertPool, error) {
	var pool *x509.CertPool
	for _, f := range files {
		if f == "" {
			continue
		}
		b, err := hosts.ReadFile(f, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate of an authority: %w", err)
		}
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				return nil, fmt.Errorf("reading the system's certificates: %w", err)
			}
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("%s holds no certificate of an authority in PEM", f)
		}
	}
	return pool, nil
}

// clientCertificates reads pairs of certificate and key, which may be in the
// file of the certificate. Empty pairs are skipped.
func clientCertificates(pairs [][2]string) (certs []tls.Certificate, err error) {
	for _, p := range pairs {
		file, keyFile := p[0], p[1]
		if file == "" && keyFile == "" {
			continue
		}
		if file == "" {
			return nil, fmt.Errorf("the key %s has no certificate: name it with --cert-file", keyFile)
		}
		cert, err := hosts.ReadFile(file, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("reading a client certificate: %w", err)
		}
		key := cert
		if keyFile != "" {
			if key, err = hosts.ReadFile(keyFile, maxPEM); err != nil {
				return nil, fmt.Errorf("reading the key of a client certificate: %w", err)
			}
		}
		c, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", file, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// splitTransport sends requests to one host name through own and all others
// through rest.
type splitTransport struct {
	name      string // without port
	own, rest *http.Transport
}

func (t *splitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() == t.name {
		return t.own.RoundTrip(req)
	}
	return t.rest.RoundTrip(req)
}
