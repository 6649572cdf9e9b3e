package oci

import (
	"context"
	"crypto/sha256"
	_ "crypto/sha512" // digests of foreign content
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Media types of Docker's manifests, which a store carries as it carries OCI's.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A Source is one artifact in a store, opened for reading. Its methods may be
// called by many goroutines at once.
type Source interface {
	// Resolve returns the descriptor of what the reference names. The store is
	// asked once; later calls return the same answer, so a tag that moves
	// meanwhile changes nothing.
	Resolve(ctx context.Context) (ocispec.Descriptor, error)
	// Manifest returns the manifest or image index d, at most 4 MiB. Its size
	// and digest match d. The caller owns the slice.
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// Blob returns the bytes [off, off+n) of the blob d, or all from off when
	// n is negative. The reader gives exactly these bytes or an error, never
	// more. They are not verified: that is the caller's part. The caller closes
	// the reader; canceling ctx ends it.
	Blob(ctx context.Context, d ocispec.Descriptor, off, n int64) (io.ReadCloser, error)
	// Referrers lists the manifests in the store whose subject is said to be d:
	// signatures, for example. Those that cosign finds by a tag have it as their
	// annotation org.opencontainers.image.ref.name. A store that cannot tell has
	// none.
	Referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
	// Close releases what the source holds. Open readers are closed first, by
	// their owners.
	Close() error
}

// A Target is one artifact in a store, opened for writing. Its methods may be
// called by many goroutines at once, but for Publish and Close, which come
// last.
type Target interface {
	// Has reports whether the store holds d, by its digest and size. It does
	// not read the bytes.
	Has(ctx context.Context, d ocispec.Descriptor) (bool, error)
	// Create begins a blob, in a spool file of its own.
	Create(ctx context.Context) (BlobWriter, error)
	// Receive begins the blob d, of which the bytes come from another store. If
	// an earlier attempt left a part of them, the writer goes on after the first
	// have bytes. good, if it is not nil, is asked how many of the size bytes that
	// were left may stay. Abort keeps what was written for the next attempt;
	// Commit drops it if it is not d.
	Receive(ctx context.Context, d ocispec.Descriptor, good func(r io.ReaderAt, size int64) int64) (w BlobWriter, have int64, err error)
	// Mount takes over the blob d from the repository of from, without its bytes
	// being sent. It reports whether the store did that.
	Mount(ctx context.Context, d ocispec.Descriptor, from Reference) (bool, error)
	// PutManifest stores a manifest or image index whose size and digest are
	// those of d. What it names should be there already: some registries check.
	PutManifest(ctx context.Context, d ocispec.Descriptor, raw []byte) error
	// attach stores the manifest raw of r, so that Source.Referrers lists it. What
	// it names should be there already. The warning, if there is one, is for the
	// user.
	attach(ctx context.Context, r referrer, raw []byte) (warning string, err error)
	// Publish makes d, put before, the artifact that the reference names. It is
	// the last step; before it nothing can be seen under the reference.
	Publish(ctx context.Context, d ocispec.Descriptor) error
	// Close drops what is unfinished. Blobs that were committed may stay, under
	// their digests alone, so that a second attempt need not send them again.
	Close() error
}

// A BlobWriter takes the bytes of one blob. It belongs to one goroutine.
type BlobWriter interface {
	io.Writer
	// WriteSum writes p and returns the sha256 of p alone, for little more
	// than the time of Write.
	WriteSum(p []byte) ([sha256.Size]byte, error)
	// Digest is the sha256 of what was written so far.
	Digest() digest.Digest
	// Commit checks that the size and sha256 digest of what was written are
	// those of d, then stores the blob. After an error nothing is stored.
	Commit(ctx context.Context, d ocispec.Descriptor) error
	// Abort drops what was written. After Commit it does nothing.
	Abort() error
}

// StoreOptions say how to reach a store. A nil *StoreOptions means defaults.
type StoreOptions struct {
	// PlainHTTP allows http where https is refused, as in ParseReference.
	PlainHTTP bool
	// TempDir holds the spool files of uploads to a registry, which are as
	// large as the blobs in flight. What Receive was given stays there for a
	// week if the process ends. Default: os.TempDir().
	TempDir string
	// Keychain finds credentials. Default: one that reads what docker login and
	// podman login wrote.
	Keychain authn.Keychain
	// UserAgent is sent to registries. Default: oras-bsm.
	UserAgent string
	// HostsDir holds what containerd knows of registries: for each of them a
	// directory with its mirrors and certificates, as containerd's docs/hosts.md
	// says. Default: /etc/containerd/certs.d, if it is there and may be read.
	HostsDir string
	// CAFile holds certificates, in PEM, of authorities to trust beside the
	// system's. CertFile and KeyFile hold the certificate and key to show to
	// registries that ask for them.
	CAFile, CertFile, KeyFile string
	// Connections is how many parts of blobs a store fetches at once, or holds
	// for those who read them. An open reader has one request more. Default: 8.
	Connections int
	// LimitRate is how many bytes of blobs a second go in each direction. 0: as
	// many as can.
	LimitRate int64
}

func (o *StoreOptions) orDefault() StoreOptions {
	var c StoreOptions
	if o != nil {
		c = *o
	}
	if c.Keychain == nil {
		c.Keychain = keychain{}
	}
	if c.UserAgent == "" {
		c.UserAgent = "oras-bsm"
	}
	if c.Connections <= 0 {
		c.Connections = defaultConnections
	}
	return c
}

var errNoReference = errors.New("empty reference")

// OpenSource opens what ref names for reading. For a registry it performs the
// authentication handshake, or leaves that to the first use where HostsDir names
// mirrors; that the artifact exists is found by Resolve.
func OpenSource(ctx context.Context, ref Reference, o *StoreOptions) (Source, error) {
	var s Source
	var err error
	switch ref.kind {
	case kindRegistry:
		s, err = openRegistrySource(ctx, ref, o, defaultPatience)
	case kindLayout:
		s, err = openLayoutSource(ref)
	case kindArchive:
		s, err = openArchiveSource(ref)
	default:
		err = errNoReference
	}
	if err != nil {
		return nil, fail("opening", ref.String(), err)
	}
	return s, nil
}

// OpenTarget opens what ref names for writing. A layout is created where there
// is none and joined where there is one; an archive is replaced as a whole
// when it is published.
func OpenTarget(ctx context.Context, ref Reference, o *StoreOptions) (Target, error) {
	var t Target
	var err error
	switch ref.kind {
	case kindRegistry:
		t, err = openRegistryTarget(ctx, ref, o, defaultPatience)
	case kindLayout:
		t, err = openLayoutTarget(ref)
	case kindArchive:
		t, err = openArchiveTarget(ref)
	default:
		err = errNoReference
	}
	if err != nil {
		return nil, fail("opening", ref.String(), err)
	}
	return t, nil
}

// isManifest reports whether a media type is that of a manifest or index.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerManifestList:
		return true
	}
	return false
}

// manifestType names the media type of a manifest, by what the store says of it
// and, where that is not the type of a manifest, by its own mediaType field or, as
// the image spec lets manifests go without, by its members.
func manifestType(said string, raw []byte) (string, error) {
	if t, _, err := mime.ParseMediaType(said); err == nil && isManifest(t) {
		return t, nil
	}
	var doc struct {
		MediaType string               `json:"mediaType"`
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", fmt.Errorf("%w: not a manifest: %w", ErrCorrupt, err)
	}
	switch {
	case isManifest(doc.MediaType):
		return doc.MediaType, nil
	case doc.MediaType == "" && doc.Manifests != nil && doc.Config == nil && doc.Layers == nil:
		return ocispec.MediaTypeImageIndex, nil
	case doc.MediaType == "" && doc.Manifests == nil && doc.Config != nil && doc.Layers != nil:
		return ocispec.MediaTypeImageManifest, nil
	}
	return "", fmt.Errorf("%w: media type %.100q is not that of a manifest", ErrNotModel, doc.MediaType)
}

// checkManifest compares raw with the descriptor that names it.
func checkManifest(d ocispec.Descriptor, raw []byte) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if d.Size > mediatypes.MaxManifestSize {
		return fmt.Errorf("%w: manifest of %d bytes, the most is %d", ErrCorrupt, d.Size, mediatypes.MaxManifestSize)
	}
	if int64(len(raw)) != d.Size {
		return fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(raw), d.Size)
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return fmt.Errorf("%w: digest is %s", ErrCorrupt, got)
	}
	return nil
}

// checkDescriptor refuses what must not become a file name, URL or length.
func checkDescriptor(d ocispec.Descriptor) error {
	if _, err := parseDigest(d.Digest.String()); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: size %d", ErrCorrupt, d.Size)
	}
	return nil
}

// blobRange checks a range of blob d and returns its end.
func blobRange(d ocispec.Descriptor, off, n int64) (end int64, err error) {
	if err := checkDescriptor(d); err != nil {
		return 0, err
	}
	if n < 0 {
		n = d.Size - off
	}
	if off < 0 || n < 0 || off > d.Size || n > d.Size-off {
		return 0, fmt.Errorf("range of %d bytes from %d lies outside a blob of %d", n, off, d.Size)
	}
	return off + n, nil
}

// plainText makes a foreign text fit for a line of ours: short, and without
// characters that a terminal obeys.
func plainText(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
