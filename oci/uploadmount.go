package oci

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// obtain tries to have the blob d in a target without its bytes: the store holds
// it, or takes it over from the repository of one of froms. It reports whether d
// is there now; if not, it is to be sent.
func obtain(ctx context.Context, t Target, d ocispec.Descriptor, froms []Reference) (bool, error) {
	if ok, err := t.Has(ctx, d); ok || err != nil {
		return ok, err
	}
	for _, from := range froms {
		if ok, err := t.Mount(ctx, d, from); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// sharesRegistry reports whether r and other are repositories of one registry,
// between which blobs can be mounted.
func (r Reference) sharesRegistry(other Reference) bool {
	return r.kind == kindRegistry && other.kind == kindRegistry && r.repo.RegistryStr() == other.repo.RegistryStr()
}

// mountSource is another repository of the target's registry, that blobs are
// mounted from.
type mountSource struct {
	mu      sync.Mutex        // held during the handshake
	auth    http.RoundTripper // for both repositories; nil: before the handshake
	refused bool              // the registry does not mount from it
}

// Mount implements Target. A repository is not tried again after the registry
// has refused to mount from it: it has no mounts, or this user may not read there.
func (t *registryTarget) Mount(ctx context.Context, d ocispec.Descriptor, from Reference) (bool, error) {
	ok, err := t.mount(ctx, d, from)
	return ok, fail("mounting", d.Digest.String(), err)
}

func (t *registryTarget) mount(ctx context.Context, d ocispec.Descriptor, from Reference) (bool, error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	if !t.ref.sharesRegistry(from) || from.repo.RepositoryStr() == t.ref.repo.RepositoryStr() {
		return false, nil
	}
	// As the endpoint names it.
	repo := t.repo.Repo(t.over + from.repo.RepositoryStr())
	src := t.source(repo.RepositoryStr())
	auth, err := src.open(ctx, t, repo)
	if auth == nil || err != nil {
		return false, t.fault(err)
	}
	var a uploadAnswer
	w := t.wire(auth)
	at := t.uploads()
	at.RawQuery = url.Values{"mount": {d.Digest.String()}, "from": {repo.RepositoryStr()}}.Encode()
	err = t.repeat(ctx, func(ctx context.Context) (bool, error) {
		var err error
		a, err = w.do(ctx, uploadRequest{method: http.MethodPost, at: at, final: true}, http.StatusCreated, http.StatusAccepted)
		return false, err
	})
	if isStatus(err) {
		src.refuse()
		return false, nil
	}
	if err != nil {
		return false, t.fault(err)
	}
	if a.status == http.StatusCreated {
		return t.has(ctx, d) // a registry's word for it
	}
	// It would rather have the bytes, in an upload that nobody goes on with.
	if at, err := w.location(a); err == nil {
		_, _ = w.do(ctx, uploadRequest{method: http.MethodDelete, at: at}, http.StatusNoContent)
	}
	return false, nil
}

// source returns what is known of a repository as a source.
func (t *registryTarget) source(repo string) *mountSource {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sources[repo]
	if s == nil {
		s = &mountSource{}
		t.sources[repo] = s
	}
	return s
}

// open authenticates for writing to the target and reading from, and returns nil
// where that is refused. It is not done with the target's own credentials: those
// would ask for both from then on, and be refused for both.
func (s *mountSource) open(ctx context.Context, t *registryTarget, from name.Repository) (http.RoundTripper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth == nil && !s.refused {
		scopes := []string{t.repo.Scope(transport.PushScope), from.Scope(transport.PullScope)}
		auth, err := transport.NewWithContext(ctx, t.repo.Registry, t.creds, t.below, scopes)
		if err != nil && !isStatus(err) {
			return nil, err
		}
		s.auth, s.refused = auth, err != nil
	}
	if s.refused {
		return nil, nil
	}
	return s.auth, nil
}

// refuse has the source not tried again.
func (s *mountSource) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = true
}
