package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// This file finds the referrers of a manifest: those that name it as their
// subject (distribution spec v1.1, "Listing Referrers"), and those that cosign
// finds by a tag made of its digest.

const (
	// maxReferrers bounds the referrers of an artifact, and those of them in turn.
	maxReferrers = 4096
	// maxReferrerPages bounds the answers that one list of referrers is cut into.
	maxReferrerPages = 20
)

// cosignKinds end the tags under which cosign stores signatures, attestations
// and bills of materials.
var cosignKinds = []string{".sig", ".att", ".sbom"}

// fallbackTag is the tag of the list of d's referrers in a registry that keeps no
// such list itself (distribution spec v1.1, "Referrers Tag Schema").
func fallbackTag(d digest.Digest) string {
	a, h := d.Algorithm().String(), d.Encoded()
	return a[:min(len(a), 32)] + "-" + h[:min(len(h), 64)]
}

// cosignTags are the tags under which cosign stores what belongs to d. Those of a
// sha512 digest would be too long for a tag.
func cosignTags(d digest.Digest) []string {
	if d.Algorithm() != digest.SHA256 {
		return nil
	}
	var tags []string
	for _, kind := range cosignKinds {
		tags = append(tags, "sha256-"+d.Encoded()+kind)
	}
	return tags
}

// isCosignTag reports whether tag is one of cosignTags of some digest.
func isCosignTag(tag string) bool {
	i := strings.LastIndexByte(tag, '.')
	if i < 0 || !slices.Contains(cosignKinds, tag[i:]) {
		return false
	}
	h, ok := strings.CutPrefix(tag[:i], "sha256-")
	return ok && digest.NewDigestFromEncoded(digest.SHA256, h).Validate() == nil
}

// tagged returns d as Source.Referrers gives what it found by a tag.
func tagged(d ocispec.Descriptor, tag string) ocispec.Descriptor {
	d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	return d
}

// listed reads a list of referrers: an image index. Its entries are not what they
// are said to be until their manifests were read.
func listed(raw []byte) ([]ocispec.Descriptor, error) {
	x, err := parseIndexFile(raw)
	if err != nil {
		return nil, fmt.Errorf("the list of referrers: %w", err)
	}
	for i := range x.entries {
		delete(x.entries[i].Annotations, ocispec.AnnotationRefName)
	}
	return x.entries, nil
}

// subjects are the referrers in a layout, by the digest that they refer to.
type subjects struct {
	by   map[digest.Digest][]ocispec.Descriptor
	tags map[string]ocispec.Descriptor
}

// Referrers implements Source.
func (s *layoutSource) Referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.referrers == nil {
		r, err := readSubjects(ctx, s.files, s.ref.kind == kindArchive)
		if err != nil {
			return nil, fail("listing referrers in", s.ref.String(), err)
		}
		s.referrers = r
	}
	out := slices.Clone(s.referrers.by[d.Digest])
	for _, tag := range cosignTags(d.Digest) {
		if e, ok := s.referrers.tags[tag]; ok {
			out = append(out, tagged(e, tag))
		}
	}
	list, ok := s.referrers.tags[fallbackTag(d.Digest)]
	if !ok || list.Digest == d.Digest {
		return out, nil
	}
	raw, err := readManifest(s.files, list)
	if err != nil {
		return nil, fail("listing referrers in", s.ref.String(), err)
	}
	more, err := listed(raw)
	return append(out, more...), err
}

// readSubjects finds the referrers among all manifests of a layout, however deep they
// lie. In a layout, which may hold much else, those that cannot be read are passed
// over; an archive is one artifact, of which nothing may be lost: whole says so.
func readSubjects(ctx context.Context, f files, whole bool) (*subjects, error) {
	x, err := readIndexFile(f)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	g, err := readGraph(ctx, f, x.entries)
	if err != nil {
		return nil, err
	}
	out := &subjects{map[digest.Digest][]ocispec.Descriptor{}, map[string]ocispec.Descriptor{}}
	for _, e := range x.entries {
		if n := e.Annotations[ocispec.AnnotationRefName]; n != "" {
			out.tags[n] = ocispec.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}
		}
	}
	for _, n := range g.order {
		if n.err != nil && whole && !errors.Is(n.err, errUnknownType) {
			return nil, fail("reading manifest", n.Digest.String(), n.err)
		}
		if n.links == nil || n.links.Subject == nil {
			continue
		}
		to := n.links.Subject.Digest
		out.by[to] = append(out.by[to], ocispec.Descriptor{
			MediaType: n.MediaType, Digest: n.Digest, Size: n.Size,
			ArtifactType: n.links.Kind(), Annotations: n.links.Annotations,
		})
	}
	return out, nil
}

// Referrers implements Source. A registry without the referrers API has the list
// under a tag.
func (s *registrySource) Referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	out, err := s.listReferrers(ctx, d)
	if err != nil {
		return nil, fail("listing referrers of", d.Digest.String(), err)
	}
	return out, nil
}

// errNoReferrers says that the registry does not know the referrers API.
var errNoReferrers = errors.New("no referrers API")

func (s *registrySource) listReferrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if err := checkDescriptor(d); err != nil {
		return nil, err
	}
	out, err := s.askReferrers(ctx, d)
	if errors.Is(err, errNoReferrers) {
		out, err = s.taggedReferrers(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	for _, tag := range cosignTags(d.Digest) {
		found, _, err := s.fetchTag(ctx, tag)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, tagged(found, tag))
	}
	return out, nil
}

// fetchTag returns the manifest under a tag.
func (r *registry) fetchTag(ctx context.Context, tag string) (d ocispec.Descriptor, raw []byte, err error) {
	raw, contentType, err := r.fetchManifest(ctx, tag)
	if err != nil {
		return d, nil, err
	}
	if d.MediaType, err = manifestType(contentType, raw); err != nil {
		return d, nil, fmt.Errorf("tag %s: %w", tag, err)
	}
	d.Digest, d.Size = digest.FromBytes(raw), int64(len(raw))
	return d, raw, nil
}

// taggedReferrers reads the list under the fallback tag. Some registries answer a
// tag that is made of a digest with what the digest names.
func (s *registrySource) taggedReferrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	found, raw, err := s.fetchTag(ctx, fallbackTag(d.Digest))
	if errors.Is(err, ErrNotFound) || err == nil && found.Digest == d.Digest {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if found.MediaType != ocispec.MediaTypeImageIndex {
		return nil, fmt.Errorf("%w: the tag %s names no list of referrers but a %s", ErrCorrupt, fallbackTag(d.Digest), found.MediaType)
	}
	return listed(raw)
}

// referrersHeader is the header of a request for a list of referrers.
var referrersHeader = http.Header{"Accept": {ocispec.MediaTypeImageIndex}, "Accept-Encoding": {"identity"}}

// askReferrers asks the referrers API, page after page.
func (s *registrySource) askReferrers(ctx context.Context, d ocispec.Descriptor) (all []ocispec.Descriptor, err error) {
	var next *url.URL
	for range maxReferrerPages {
		var page []ocispec.Descriptor
		if page, next, err = s.referrersPage(ctx, d, next); err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) > maxReferrers {
			return nil, fmt.Errorf("%w: %s lists more than %d referrers", ErrCorrupt, s.host(), maxReferrers)
		}
		if next == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: %s sends more than %d pages of referrers", ErrCorrupt, s.host(), maxReferrerPages)
}

// askPage asks for the first page of a list, or for the one at the address next.
func (s *registrySource) askPage(ctx context.Context, d ocispec.Descriptor, next *url.URL) (*http.Response, error) {
	if next == nil {
		return s.get(ctx, http.MethodGet, "referrers", d.Digest.String(), referrersHeader.Clone(),
			http.StatusOK, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = referrersHeader.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.fault(err)
	}
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		drain(resp.Body)
		return nil, s.fault(err)
	}
	return resp, nil
}

// referrersPage reads one page. The result next is where the list goes on, or nil.
func (s *registrySource) referrersPage(ctx context.Context, d ocispec.Descriptor, at *url.URL) (page []ocispec.Descriptor, next *url.URL, err error) {
	resp, err := s.askPage(ctx, d, at)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, errNoReferrers
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, mediatypes.MaxManifestSize+1))
	if err != nil {
		return nil, nil, s.fault(err)
	}
	if len(raw) > mediatypes.MaxManifestSize {
		return nil, nil, fmt.Errorf("%w: the list of referrers has more than %d bytes", ErrCorrupt, mediatypes.MaxManifestSize)
	}
	// What does not know the API may answer everything with a page for people.
	if t, err := manifestType(resp.Header.Get("Content-Type"), raw); at == nil && (err != nil || t != ocispec.MediaTypeImageIndex) {
		return nil, nil, errNoReferrers
	}
	if page, err = listed(raw); err != nil {
		return nil, nil, err
	}
	next, err = nextPage(resp.Request.URL, resp.Header.Values("Link"))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrRegistry, s.host(), err)
	}
	return page, next, nil
}
