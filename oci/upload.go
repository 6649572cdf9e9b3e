package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registryTarget writes one artifact into a registry.
type registryTarget struct{ *registry }

func openRegistryTarget(ctx context.Context, ref Reference, o *StoreOptions, wait patience) (Target, error) {
	r, err := dialRegistry(ctx, ref, o, transport.PushScope, wait)
	if err != nil {
		return nil, err
	}
	return &registryTarget{r}, nil
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
	f, err := os.CreateTemp(t.opts.TempDir, "oras-bsm-*")
	if err != nil {
		return nil, fail("creating a spool file for", t.ref.String(), err)
	}
	// Without a name nothing is left behind by a killed process. Where an open
	// file cannot be removed, close does it.
	_ = os.Remove(f.Name())
	return &upload{spool: newSpool(f), t: t}, nil
}

// Receive implements Target.
func (t *registryTarget) Receive(ctx context.Context, _ ocispec.Descriptor, _ func(io.ReaderAt, int64) int64) (BlobWriter, int64, error) {
	w, err := t.Create(ctx)
	return w, 0, err
}

// Mount implements Target.
func (t *registryTarget) Mount(context.Context, ocispec.Descriptor, Reference) (bool, error) {
	return false, nil
}

// PutManifest implements Target.
func (t *registryTarget) PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte) error {
	err := checkManifest(d, raw)
	if err == nil {
		err = t.put(ctx, t.repo.Digest(d.Digest.String()), d, raw)
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
	return t.put(ctx, t.repo.Tag(t.ref.tag), d, raw)
}

// put sends a manifest under a tag or its digest.
func (t *registryTarget) put(ctx context.Context, ref name.Reference, d ocispec.Descriptor, raw []byte) error {
	return t.persist(ctx, func(ctx context.Context) error {
		return remote.Put(ref, taggable{raw, types.MediaType(d.MediaType)}, t.remote(ctx)...)
	})
}

// remote returns the options for go-containerregistry. The transport is
// authenticated already, so it adds no retries of its own.
func (t *registryTarget) remote(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(t.auth),
		// Its pauses do not end with the context: persist makes them.
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}

// persist repeats a write, which starts over each time, while that may help.
func (t *registryTarget) persist(ctx context.Context, write func(context.Context) error) error {
	for try := 1; ; try++ {
		err := write(ctx)
		if err == nil {
			return nil
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if try >= t.wait.tries || !worthRewrite(err) {
			return t.fault(err)
		}
		if err := sleep(ctx, backoff(t.wait.delay, try)); err != nil {
			return err
		}
	}
}

// worthRewrite reports whether a failed write may succeed when repeated. The
// upload sessions of some registries are lost now and then, which is a 404.
func worthRewrite(err error) bool {
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return worthRetry(&http.Response{StatusCode: t.StatusCode}, nil) ||
			len(t.Errors) > 0 && t.Errors[0].Code == transport.BlobUploadUnknownErrorCode
	}
	return isTransient(err)
}

// taggable is a manifest as go-containerregistry takes it.
type taggable struct {
	raw       []byte
	mediaType types.MediaType
}

func (t taggable) RawManifest() ([]byte, error)        { return t.raw, nil }
func (t taggable) MediaType() (types.MediaType, error) { return t.mediaType, nil }

// upload is a blob on its way into a registry.
type upload struct {
	*spool
	t    *registryTarget
	done bool
}

// Commit implements BlobWriter. A blob that the registry has is not sent:
// WriteLayer asks first.
func (u *upload) Commit(ctx context.Context, d ocispec.Descriptor) error {
	if u.done {
		return fail("uploading", d.Digest.String(), fs.ErrClosed)
	}
	err := u.commit(ctx, d)
	return fail("uploading", d.Digest.String(), errors.Join(err, u.Abort()))
}

func (u *upload) commit(ctx context.Context, d ocispec.Descriptor) error {
	if err := u.check(d); err != nil {
		return err
	}
	h, err := v1.NewHash(d.Digest.String())
	if err != nil {
		return err
	}
	return u.t.persist(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		// One clock for the whole attempt, wound up by every read of the file:
		// it runs out when the registry takes nothing more and says nothing.
		timer := time.AfterFunc(commitTimeout, func() { cancel(errSilent) })
		defer timer.Stop()
		layer := spoolLayer{f: u.f, size: d.Size, hash: h, mediaType: types.MediaType(d.MediaType), timer: timer}
		err := remote.WriteLayer(u.t.repo, layer, u.t.remote(ctx)...)
		if err != nil && errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		return err
	})
}

// Abort implements BlobWriter.
func (u *upload) Abort() error {
	if u.done {
		return nil
	}
	u.done = true
	err := u.f.Close()
	if rerr := os.Remove(u.f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// spoolLayer is a spool file as a v1.Layer. It can be read many times over.
type spoolLayer struct {
	f         *os.File
	size      int64
	hash      v1.Hash
	mediaType types.MediaType
	timer     *time.Timer
}

func (l spoolLayer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l spoolLayer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l spoolLayer) Size() (int64, error)                 { return l.size, nil }
func (l spoolLayer) MediaType() (types.MediaType, error)  { return l.mediaType, nil }
func (l spoolLayer) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }

func (l spoolLayer) Compressed() (io.ReadCloser, error) {
	return &spoolReader{r: io.NewSectionReader(l.f, 0, l.size), timer: l.timer}, nil
}

// spoolReader is the body of an upload. The transport may read and close it
// from its own goroutine, for a moment after the request has failed.
type spoolReader struct {
	r     io.Reader
	timer *time.Timer

	mu     sync.Mutex
	closed bool
}

func (s *spoolReader) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fs.ErrClosed
	}
	s.timer.Reset(commitTimeout)
	return s.r.Read(p)
}

func (s *spoolReader) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
