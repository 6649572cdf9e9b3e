package oci

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// acceptManifests is the Accept header of a request for a manifest.
var acceptManifests = strings.Join([]string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerManifestList, dockerManifest,
}, ", ")

// registry is one repository of a registry, and an authenticated way to it.
type registry struct {
	ref  Reference       // what was asked for, which a mirror has under its own name
	repo name.Repository // at the endpoint that is spoken to
	over string          // begins the names of repositories at the endpoint
	ns   string          // the registry that a mirror stands for, or ""
	opts StoreOptions
	wait patience

	plain  bool // http is allowed, wherever it leads
	base   *http.Transport
	rest   *http.Transport     // to other hosts; may be base
	below  http.RoundTripper   // without authentication
	creds  authn.Authenticator // what to authenticate with
	auth   http.RoundTripper   // a *transport.Wrapper
	client *http.Client
}

// dialRegistry performs the handshake for a scope of transport.PullScope or
// transport.PushScope: with the first endpoint that takes what is written, or
// with the registry itself.
func dialRegistry(ctx context.Context, ref Reference, o *StoreOptions, scope string, wait patience) (*registry, error) {
	ends, err := endpoints(ref, o)
	if err != nil {
		return nil, err
	}
	e := ends[len(ends)-1]
	if scope == transport.PushScope {
		i := slices.IndexFunc(ends, func(e *endpoint) bool { return e.host.Push })
		if i < 0 {
			return nil, errNoEndpoint
		}
		e = ends[i]
	}
	return e.dial(ctx, scope, wait)
}

// guardedRegistry returns a registry and the transport below authentication.
// go-containerregistry tries plain http by itself for private addresses; the
// guard has the last word.
func guardedRegistry(host string, plain bool, base http.RoundTripper, wait patience) (name.Registry, http.RoundTripper, error) {
	loopback := isLoopback(host)
	opts := []name.Option{name.StrictValidation}
	if plain || loopback {
		opts = append(opts, name.Insecure)
	}
	reg, err := name.NewRegistry(host, opts...)
	guard := &schemeGuard{next: base, plain: plain, loopback: loopback}
	return reg, &retrier{next: guard, patience: wait}, err
}

// Close implements Source and Target.
func (r *registry) Close() error {
	r.base.CloseIdleConnections()
	r.rest.CloseIdleConnections()
	return nil
}

// host is the registry's name for messages.
func (r *registry) host() string { return displayHost(r.repo.RegistryStr()) }

// fault says what a failed request means and what to do about it.
func (r *registry) fault(err error) error { return registryFault(r.host(), err) }

// get is send with its errors explained.
func (r *registry) get(ctx context.Context, method, kind, id string, header http.Header, ok ...int) (*http.Response, error) {
	resp, err := r.send(ctx, method, kind, id, header, ok...)
	return resp, r.fault(err)
}

// send sends a GET or HEAD for a manifest or blob and returns an answer whose
// status is one of ok. The caller closes its body.
func (r *registry) send(ctx context.Context, method, kind, id string, header http.Header, ok ...int) (*http.Response, error) {
	// The handshake found the scheme: the authenticated transport sets it.
	u := url.URL{
		Scheme: r.repo.Scheme(),
		Host:   r.repo.RegistryStr(),
		Path:   "/v2/" + r.repo.RepositoryStr() + "/" + kind + "/" + id,
	}
	if r.ns != "" {
		u.RawQuery = url.Values{"ns": {r.ns}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, ok...); err != nil {
		drain(resp.Body)
		return nil, err
	}
	return resp, nil
}

// fetchManifest returns a manifest by its tag or digest, with the media type
// that the registry gives it.
func (r *registry) fetchManifest(ctx context.Context, id string) (raw []byte, contentType string, err error) {
	for try := 1; ; try++ {
		raw, contentType, err = r.readManifest(ctx, id)
		if err == nil {
			break
		}
		// Before there was an answer the transport has tried again already.
		if contentType == "" || !isTransient(err) || try >= r.wait.tries || ctx.Err() != nil {
			return nil, "", r.fault(err)
		}
		if err := sleep(ctx, backoff(r.wait.delay, try)); err != nil {
			return nil, "", err
		}
	}
	if len(raw) > mediatypes.MaxManifestSize {
		return nil, "", fmt.Errorf("%w: the manifest has more than %d bytes", ErrCorrupt, mediatypes.MaxManifestSize)
	}
	if t, _, _ := mime.ParseMediaType(contentType); t == "text/html" || bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) {
		return nil, "", fmt.Errorf("%w: %s answers with a web page: not a registry, or a proxy that wants you to log in first", ErrRegistry, r.host())
	}
	return raw, contentType, nil
}

// readManifest asks for a manifest once. If the answer breaks off there is an error
// beside its content type.
func (r *registry) readManifest(ctx context.Context, id string) (raw []byte, contentType string, err error) {
	header := http.Header{"Accept": {acceptManifests}, "Accept-Encoding": {"identity"}}
	resp, err := r.send(ctx, http.MethodGet, "manifests", id, header, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, mediatypes.MaxManifestSize+1))
	return raw, cmp.Or(resp.Header.Get("Content-Type"), "unknown"), err
}

// registrySource reads one artifact of a registry.
type registrySource struct {
	*registry
	ahead *budget

	mu   sync.Mutex
	desc ocispec.Descriptor // once resolved
	raw  []byte             // its manifest
}

func newRegistrySource(r *registry) *registrySource {
	return &registrySource{registry: r, ahead: newBudget(r.opts.Connections)}
}

// openRegistrySource opens ref at its only endpoint, or at those that
// hosts.toml names.
func openRegistrySource(ctx context.Context, ref Reference, o *StoreOptions, wait patience) (Source, error) {
	ends, err := endpoints(ref, o)
	if err != nil {
		return nil, err
	}
	if e := ends[0]; len(ends) > 1 || !e.host.Pull || !e.host.Resolve {
		return newMirrorSource(ref, ends, wait)
	}
	r, err := ends[0].dial(ctx, transport.PullScope, wait)
	if err != nil {
		return nil, err
	}
	return newRegistrySource(r), nil
}

// Resolve implements Source. The digest is computed from the manifest itself:
// what a registry says of it in a header proves nothing, and some are wrong.
func (s *registrySource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.desc.Digest != "" {
		return s.desc, nil
	}
	d, raw, err := s.resolve(ctx)
	if err != nil {
		return ocispec.Descriptor{}, fail("resolving", s.ref.String(), err)
	}
	s.desc, s.raw = d, raw
	return d, nil
}

func (s *registrySource) resolve(ctx context.Context) (d ocispec.Descriptor, raw []byte, err error) {
	id := s.ref.tag
	if s.ref.digest != "" {
		id = s.ref.digest.String()
	}
	raw, contentType, err := s.fetchManifest(ctx, id)
	if err != nil {
		return d, nil, err
	}
	if d.MediaType, err = manifestType(contentType, raw); err != nil {
		return d, nil, err
	}
	d.Size = int64(len(raw))
	d.Digest = digest.FromBytes(raw)
	if s.ref.digest != "" {
		d.Digest = s.ref.digest
		err = checkManifest(d, raw)
	}
	return d, raw, err
}

// Manifest implements Source.
func (s *registrySource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	raw, err := s.manifest(ctx, d)
	if err != nil {
		return nil, fail("reading manifest", d.Digest.String(), err)
	}
	return raw, nil
}

func (s *registrySource) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	s.mu.Lock()
	raw := s.raw
	if s.desc.Digest != d.Digest {
		raw = nil
	}
	s.mu.Unlock()
	if raw != nil {
		raw = bytes.Clone(raw)
	} else {
		var err error
		if raw, _, err = s.fetchManifest(ctx, d.Digest.String()); err != nil {
			return nil, err
		}
	}
	return raw, checkManifest(d, raw)
}
