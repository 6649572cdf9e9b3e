package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/oras-bsm/oras-bsm/oci/internal/hosts"
)

const (
	defaultHostsDir = "/etc/containerd/certs.d"
	hubHost         = "registry-1.docker.io" // another name of Docker Hub
)

var errNoEndpoint = errors.New("no host in hosts.toml may do that: see capabilities there")

// endpoint is one host that serves the repository of a reference.
type endpoint struct {
	ref  Reference
	opts StoreOptions
	host hosts.Host
	root string // of the host's API, where others have /v2
	over string // begins the names of repositories at the host

	own, rest *tls.Config // of the host, and of where it sends its clients
}

// endpoints returns the hosts for ref, in the order in which they are to be
// asked. All that they need of this machine is read; none is dialled.
func endpoints(ref Reference, o *StoreOptions) ([]*endpoint, error) {
	opts := o.orDefault()
	list, err := loadHosts(&opts, displayHost(ref.repo.RegistryStr()))
	if err != nil {
		return nil, fmt.Errorf("reading what is known of the registry: %w", err)
	}
	var ends []*endpoint
	for i := range list {
		e := &endpoint{ref: ref, opts: opts, host: list[i]}
		if e.host.Name == hubAlias {
			e.host.Name = name.DefaultRegistry // as requests name it
		}
		e.root, e.over = splitRoot(e.host.Path)
		if e.own, e.rest, err = tlsConfigs(&opts, &e.host); err != nil {
			return nil, err
		}
		ends = append(ends, e)
	}
	return ends, nil
}

// loadHosts reads the directory that the options name, or the default one where
// this user may.
func loadHosts(o *StoreOptions, registry string) ([]hosts.Host, error) {
	if o.HostsDir == "" {
		list, err := hosts.Load(defaultHostsDir, registry)
		if errors.Is(err, fs.ErrPermission) {
			return hosts.Load("", registry)
		}
		return list, err
	}
	if _, err := os.Stat(o.HostsDir); err != nil {
		return nil, err
	}
	return hosts.Load(o.HostsDir, registry)
}

// splitRoot splits the path of an API in two: what stands for /v2, and what is
// behind /v2 and so begins the names of repositories.
func splitRoot(path string) (root, prefix string) {
	if root, rest, ok := strings.Cut(path, "/v2/"); ok && repoGrammar.MatchString(rest) {
		return root + "/v2", rest + "/"
	}
	return path, ""
}

// namespace is the registry that a mirror stands for, or "".
func (e *endpoint) namespace() string {
	registry := displayHost(e.ref.repo.RegistryStr())
	if e.host.Name == registry || registry == hubAlias && (e.host.Name == hubHost || e.host.Name == name.DefaultRegistry) {
		return ""
	}
	return registry
}

// dial performs the handshake for a scope of transport.PullScope or
// transport.PushScope. The credentials are those of the host, whichever registry
// it stands for.
func (e *endpoint) dial(ctx context.Context, scope string, wait patience) (*registry, error) {
	r, err := e.open(wait)
	if err != nil {
		return nil, err
	}
	owner := r.repo
	if e.host.Name == hubHost {
		owner.Registry = e.ref.repo.Registry
	}
	r.creds, err = authn.Resolve(ctx, e.opts.Keychain, owner)
	if err != nil {
		return nil, fmt.Errorf("reading the credentials for %s: %w", r.host(), err)
	}
	r.auth, err = transport.NewWithContext(ctx, r.repo.Registry, r.creds, r.below, []string{r.repo.Scope(scope)})
	if err != nil {
		_ = r.Close()
		return nil, r.fault(err)
	}
	r.client = &http.Client{Transport: r.auth, CheckRedirect: checkRedirect}
	return r, nil
}

// open returns the registry without its authentication. It sends nothing.
func (e *endpoint) open(wait patience) (*registry, error) {
	r := &registry{ref: e.ref, ns: e.namespace(), over: e.over, opts: e.opts, wait: wait}
	r.plain = e.host.Scheme == "http" || e.host.Scheme == "" && (e.ref.plainHTTP || e.opts.PlainHTTP)
	r.base, r.rest = e.transports()
	reg, below, err := e.below(writes{&splitTransport{name: hostname(e.host.Name), own: r.base, rest: r.rest}}, r.plain, wait)
	if err != nil {
		return nil, err
	}
	r.repo = reg.Repo(e.over + e.ref.repo.RepositoryStr())
	r.below = transport.NewUserAgent(throttled(below, e.opts.LimitRate), e.opts.UserAgent)
	return r, nil
}

// transports returns the ways to the host and to others.
func (e *endpoint) transports() (own, rest *http.Transport) {
	own = newTransport()
	if e.host.Proxy != nil {
		own.Proxy = http.ProxyURL(e.host.Proxy)
	}
	if d := e.host.DialTimeout; d > 0 {
		dial := own.DialContext
		own.DialContext = func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			return dial(ctx, network, addr)
		}
	}
	own.TLSClientConfig, rest = e.own, own
	if e.own != e.rest {
		rest = own.Clone()
		rest.TLSClientConfig = e.rest
	}
	return own, rest
}

// below returns the host as a registry, and the transport below authentication.
// A scheme in hosts.toml was written on purpose: nothing else is tried.
func (e *endpoint) below(base http.RoundTripper, plain bool, wait patience) (name.Registry, http.RoundTripper, error) {
	t := &hostTransport{host: e.host, root: e.root, next: base}
	if e.host.Scheme == "" {
		return guardedRegistry(e.host.Name, plain, t, wait)
	}
	t.next = &schemeGuard{next: base, plain: plain}
	reg, err := name.NewRegistry(e.host.Name, name.StrictValidation)
	return reg, &retrier{next: t, patience: wait}, err
}

// hostname is a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// hostTransport makes requests to a host what its hosts.toml wants them to be.
type hostTransport struct {
	host hosts.Host
	root string // of the API
	next http.RoundTripper
}

func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != t.host.Name {
		return t.next.RoundTrip(req)
	}
	ping := req.URL.Path == "/v2/"
	req = req.Clone(req.Context())
	if t.host.Scheme != "" {
		req.URL.Scheme = t.host.Scheme
	}
	// What the host redirects to is right as it is.
	if rest, ok := strings.CutPrefix(req.URL.Path, "/v2/"); ok && req.Response == nil {
		req.URL.Path, req.URL.RawPath = t.root+"/"+rest, ""
	}
	for k, v := range t.host.Header {
		if k != "Authorization" || req.Header.Get(k) == "" {
			req.Header[k] = v
		}
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil && ping && t.host.Scheme != "" && resp.StatusCode == http.StatusNotFound {
		// A mirror of files alone has no such page, and asks for no token.
		resp.StatusCode = http.StatusOK
	}
	return resp, err
}
