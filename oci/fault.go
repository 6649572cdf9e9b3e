package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registryFault turns the error of a request to host into one that says of
// which kind it is and what to do next. The text of foreign answers is cut and
// escaped. A canceled context stays what it is.
func registryFault(host string, err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !isDial(err):
		return err
	case errors.Is(err, ErrRegistry), errors.Is(err, ErrNotFound), errors.Is(err, ErrUnauthorized), errors.Is(err, ErrCorrupt):
		return err
	}
	if hint := tlsHint(spokenTo(host, err), err); hint != "" {
		return fmt.Errorf("%w: %s: %w", ErrRegistry, hint, err)
	}
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return statusFault(host, t)
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("%w: %s speaks plain http: if that is meant, use --plain-http", ErrRegistry, host)
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok && d.IsNotFound {
		return fmt.Errorf("%w: no host %s: check the name", ErrRegistry, d.Name)
	}
	return fmt.Errorf("%w: %s: %w", ErrRegistry, host, err)
}

// spokenTo returns the host that err is about, which is another than host after a
// redirect. It takes from the message what signs an address: who reads it could
// use that.
func spokenTo(host string, err error) string {
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return host
	}
	u, perr := url.Parse(e.URL)
	if perr != nil {
		return host
	}
	u.RawQuery = ""
	e.URL = u.String()
	return u.Host
}

// words are those of an answer's status and the registry's own, cut and escaped.
func words(t *transport.Error) string {
	said := http.StatusText(t.StatusCode)
	for _, d := range t.Errors {
		said += "; " + plainText(string(d.Code)+" "+d.Message)
	}
	return said
}

// statusFault says what the status of an answer means.
func statusFault(host string, t *transport.Error) error {
	said := words(t)
	if t.Request != nil && t.Request.Response != nil && displayHost(t.Request.URL.Host) != host {
		return elsewhereFault(host, t, said)
	}
	switch t.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s answers %d %s: run oras-bsm login %s", ErrUnauthorized, host, t.StatusCode, said, host)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s answers 404 %s: check repository and tag; for a private repository run oras-bsm login %s", ErrNotFound, host, said, host)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s answers 429 %s: wait, or run oras-bsm login %s for a higher limit", ErrRegistry, host, said, host)
	case http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s answers 413 %s: it or a proxy before it takes no layer of this size", ErrRegistry, host, said)
	case http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %s answers 416 %s: its blob is shorter than the manifest says", ErrCorrupt, host, said)
	}
	return fmt.Errorf("%w: %s answers %d %s", ErrRegistry, host, t.StatusCode, said)
}

// elsewhereFault is statusFault for a place that host redirects to. Nobody logs in
// there.
func elsewhereFault(host string, t *transport.Error, said string) error {
	kind := ErrRegistry
	switch t.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = ErrUnauthorized
	case http.StatusNotFound:
		kind = ErrNotFound
	case http.StatusRequestedRangeNotSatisfiable:
		kind = ErrCorrupt
	}
	return fmt.Errorf("%w: %s, to which %s redirects, answers %d %s: try again later, or ask who runs %s", kind, plainText(t.Request.URL.Host), host, t.StatusCode, said, host)
}

// isDial reports whether err is of a connection that could not be made. One that
// takes too long looks like a context that ended.
func isDial(err error) bool {
	o, ok := errors.AsType[*net.OpError](err)
	return ok && o.Op == "dial"
}

// tlsHint names the trouble with a certificate, or "".
func tlsHint(host string, err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate of " + host + " is signed by an authority that this machine does not know: name the authority's with --ca-file, or add it to the system's or to SSL_CERT_FILE"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate of " + host + " is for another name: use a name that it is for"
	}
	if c, ok := errors.AsType[x509.CertificateInvalidError](err); ok && c.Reason == x509.Expired {
		return "the certificate of " + host + " has expired, or this machine's clock is wrong"
	}
	// The type of an alert is not exported by crypto/tls.
	a, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || a.Op != "remote error":
		return ""
	case strings.HasSuffix(a.Err.Error(), "certificate required"):
		return host + " wants a client certificate: name it with --cert-file and --key-file"
	}
	return host + " refuses the TLS connection: it may want a client certificate, or another than it was shown: --cert-file, --key-file"
}
