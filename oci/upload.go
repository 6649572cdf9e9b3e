package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registryTarget writes one artifact into a registry.
type registryTarget struct {
	*registry
	bare  *http.Client    // for wherever the registry sends uploads
	far   *http.Transport // of bare
	chunk int64           // see chunkSize

	// What uploads have found out about the registry.
	bounded atomic.Bool // it, or a proxy before it, takes no large body
	patched atomic.Bool // it takes chunks
	onePut  atomic.Bool // it takes none

	mu      sync.Mutex
	spools  *os.Root // once Receive has opened it
	sources map[string]*mountSource
}

func openRegistryTarget(ctx context.Context, ref Reference, o *StoreOptions, wait patience) (Target, error) {
	r, err := dialRegistry(ctx, ref, o, transport.PushScope, wait)
	if err != nil {
		return nil, err
	}
	t := &registryTarget{registry: r, chunk: chunkSize, sources: map[string]*mountSource{}}
	t.onePut.Store(takesOnePut(r.repo.RegistryStr()))
	t.far = r.rest.Clone()
	if c := t.far.TLSClientConfig; c != nil { // a certificate is a credential, too
		c.Certificates, c.GetClientCertificate = nil, nil
	}
	_, below, err := guardedRegistry(r.repo.RegistryStr(), r.plain, writes{t.far}, wait)
	if err != nil {
		return nil, err
	}
	t.bare = &http.Client{Transport: transport.NewUserAgent(throttled(below, r.opts.LimitRate), r.opts.UserAgent), CheckRedirect: stay}
	return t, nil
}

// stay is a http.Client's CheckRedirect: a wire decides itself where to go on.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// wire returns a way to the registry with the credentials of auth.
func (t *registryTarget) wire(auth http.RoundTripper) *wire {
	return &wire{
		auth: &http.Client{Transport: auth, CheckRedirect: stay}, bare: t.bare,
		host: t.host(), silence: t.wait.idle,
	}
}

// uploads is where uploads to the registry begin.
func (t *registryTarget) uploads() *url.URL {
	return &url.URL{
		Scheme: t.repo.Scheme(),
		Host:   t.repo.RegistryStr(),
		Path:   "/v2/" + t.repo.RepositoryStr() + "/blobs/uploads/",
	}
}

// Close implements Target.
func (t *registryTarget) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.spools != nil {
		err = t.spools.Close()
	}
	t.far.CloseIdleConnections()
	return errors.Join(err, t.registry.Close())
}

// Has implements Target.
func (t *registryTarget) Has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	ok, err := t.has(ctx, d)
	return ok, fail("looking for", d.Digest.String(), err)
}

func (t *registryTarget) has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	kind, header := "blobs", http.Header{"Accept-Encoding": {"identity"}}
	if isManifest(d.MediaType) {
		kind = "manifests"
		header.Set("Accept", acceptManifests)
	}
	resp, err := t.get(ctx, http.MethodHead, kind, d.Digest.String(), header, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	// A length that is not ours is a web page's, or that of damaged content.
	size := resp.ContentLength
	return resp.StatusCode == http.StatusOK && (size < 0 || size == d.Size), nil
}

// Create implements Target.
func (t *registryTarget) Create(ctx context.Context) (BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := t.create(digest.SHA256)
	if err != nil {
		return nil, fail("creating a spool file for", t.ref.String(), err)
	}
	return u, nil
}

func (t *registryTarget) create(a digest.Algorithm) (*upload, error) {
	f, err := os.CreateTemp(t.opts.TempDir, "oras-bsm-*")
	if err != nil {
		return nil, err
	}
	// Without a name nothing is left behind by a killed process. Where an open
	// file cannot be removed, close does it.
	_ = os.Remove(f.Name())
	return &upload{spool: newSpool(f, a), t: t}, nil
}

// Receive implements Target. What is written is kept in a directory of the user's
// below TempDir, for a week. Who finds it locked writes a file of its own.
func (t *registryTarget) Receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (BlobWriter, int64, error) {
	u, err := t.receive(ctx, d, good)
	if err != nil {
		return nil, 0, fail("creating a spool file for", d.Digest.String(), err)
	}
	return u, u.n, nil
}

func (t *registryTarget) receive(ctx context.Context, d ocispec.Descriptor, good func(io.ReaderAt, int64) int64) (*upload, error) {
	if err := errors.Join(ctx.Err(), checkDescriptor(d)); err != nil {
		return nil, err
	}
	root, err := t.spoolDir()
	if err != nil {
		return nil, err
	}
	name := d.Digest.Algorithm().String() + "-" + d.Digest.Encoded() + partSuffix
	p, err := openPartial(ctx, root, name, d, good)
	if errors.Is(err, errInUse) {
		return t.create(d.Digest.Algorithm())
	}
	if err != nil {
		return nil, err
	}
	return &upload{spool: p.spool, part: p, t: t}, nil
}

// spoolDir returns where spool files are kept, clean of abandoned ones.
func (t *registryTarget) spoolDir() (*os.Root, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spools != nil {
		return t.spools, nil
	}
	root, err := privateDir(t.opts.TempDir)
	if err != nil {
		return nil, err
	}
	if err := sweepPartials(root, partAge); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	t.spools = root
	return root, nil
}

// PutManifest implements Target.
func (t *registryTarget) PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte) error {
	err := checkManifest(d, raw)
	if err == nil {
		_, err = t.put(ctx, d.Digest.String(), d, raw)
	}
	return fail("storing manifest", d.Digest.String(), err)
}

// Publish implements Target. It reads the manifest back before it tags it: a
// proxy that answers yes to everything is not a registry.
func (t *registryTarget) Publish(ctx context.Context, d ocispec.Descriptor) error {
	return fail("publishing", t.ref.String(), t.publish(ctx, d))
}

func (t *registryTarget) publish(ctx context.Context, d ocispec.Descriptor) error {
	if err := t.ref.checkPublished(d); err != nil {
		return err
	}
	raw, _, err := t.fetchManifest(ctx, d.Digest.String())
	if err != nil {
		return err
	}
	if err := checkManifest(d, raw); err != nil || t.ref.tag == "" {
		return err
	}
	_, err = t.put(ctx, t.ref.tag, d, raw)
	return err
}

// persist repeats a write, which starts over each time, while that may help.
func (t *registryTarget) persist(ctx context.Context, write func(context.Context) error) error {
	return t.fault(t.repeat(ctx, func(ctx context.Context) (bool, error) { return false, write(ctx) }))
}

// repeat repeats a write while that may help, and counts the tries from 1 again
// when one gained something that need not be done again. The registry's own wish
// for a pause is respected. The error is the last one's.
func (t *registryTarget) repeat(ctx context.Context, write func(context.Context) (gained bool, err error)) error {
	for try := 1; ; try++ {
		var wish pause
		gained, err := write(context.WithValue(ctx, pauseKey{}, &wish))
		if err == nil {
			return nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if gained {
			try = 1
		}
		if try >= t.wait.tries || !worthRewrite(err) {
			return err
		}
		if err := sleep(ctx, max(backoff(t.wait.delay, try), time.Duration(wish.Load()))); err != nil {
			return err
		}
	}
}

// worthRewrite reports whether a failed write may succeed when repeated.
func worthRewrite(err error) bool {
	if _, ok := errors.AsType[again](err); ok {
		return true
	}
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return worthRetry(&http.Response{StatusCode: t.StatusCode}, nil)
	}
	return isTransient(err)
}

// upload is a blob on its way into a registry.
type upload struct {
	*spool
	part *partial // the spool's, if it is to outlive the process
	t    *registryTarget
	bar  Bar // told what is sent; nil: nobody
	done bool
}

// Commit implements BlobWriter. A blob that the registry has is not sent. What is
// right but could not be sent is kept for another Receive.
func (u *upload) Commit(ctx context.Context, d ocispec.Descriptor) error {
	if u.done {
		return fail("uploading", d.Digest.String(), fs.ErrClosed)
	}
	err := u.check(d)
	keep := !errors.Is(err, ErrCorrupt)
	if err == nil {
		blob := u.sending()
		if err = u.t.send(ctx, d, blob); err == nil {
			blob.sent(d)
		}
		keep = err != nil
	}
	return fail("uploading", d.Digest.String(), errors.Join(err, u.end(keep)))
}

// Abort implements BlobWriter.
func (u *upload) Abort() error { return u.end(true) }

// end closes the spool file. One that can be kept is, if keep says so.
func (u *upload) end(keep bool) error {
	if u.done {
		return nil
	}
	u.done = true
	if u.part != nil {
		return u.part.end(keep)
	}
	err := u.f.Close()
	if rerr := os.Remove(u.f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
