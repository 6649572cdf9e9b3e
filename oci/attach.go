package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// This file writes referrers, for those who look for them as referrers.go does.

// A referrer is a manifest that refers to another.
type referrer struct {
	ocispec.Descriptor // with the artifactType and annotations of its manifest
	subject            ocispec.Descriptor
	tag                string // the tag that cosign finds it by, or "" if it names its subject
}

// entry is the referrer as index.json of a layout names it.
func (r referrer) entry() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size, ArtifactType: r.ArtifactType}
}

// replaces warns that tag named another manifest before.
func replaces(tag string, old, d ocispec.Descriptor) string {
	return fmt.Sprintf("the tag %s named %s and now names %s", tag, old.Digest, d.Digest)
}

// attach implements Target.
func (t *layoutTarget) attach(ctx context.Context, r referrer, raw []byte) (warning string, err error) {
	if err := t.PutManifest(ctx, r.Descriptor, raw); err != nil {
		return "", err
	}
	if _, err := reachable(ctx, t, r.entry()); err != nil {
		return "", fail("storing referrer", r.Digest.String(), err)
	}
	err = t.locked(ctx, func() error {
		x, err := readIndexFile(t)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if i := slices.IndexFunc(x.entries, func(e ocispec.Descriptor) bool {
			return e.Annotations[ocispec.AnnotationRefName] == r.tag
		}); r.tag != "" && i >= 0 && x.entries[i].Digest != r.Digest {
			warning = replaces(r.tag, x.entries[i], r.Descriptor)
		}
		doc, err := x.with(r.entry(), r.tag)
		if err != nil {
			return err
		}
		return t.writeFile(ocispec.ImageIndexFile, doc)
	})
	return warning, fail("storing referrer", r.Digest.String(), err)
}

// attach implements Target.
func (t *registryTarget) attach(ctx context.Context, r referrer, raw []byte) (warning string, err error) {
	if r.tag != "" {
		warning, err = t.attachTag(ctx, r, raw)
		return warning, fail("storing referrer", r.Digest.String(), err)
	}
	listed, err := t.put(ctx, r.Digest.String(), r.Descriptor, raw)
	if listed {
		warning = t.host() + " keeps no lists of referrers: signatures and the like are listed under tags of the form sha256-DIGEST"
	}
	return warning, fail("storing referrer", r.Digest.String(), err)
}

func (t *registryTarget) attachTag(ctx context.Context, r referrer, raw []byte) (warning string, err error) {
	old, _, err := t.fetchTag(ctx, r.tag)
	switch {
	case err == nil && old.Digest == r.Digest:
		return "", nil
	case err == nil:
		warning = replaces(r.tag, old, r.Descriptor)
	case !errors.Is(err, ErrNotFound):
		return "", err
	}
	_, err = t.put(ctx, r.tag, r.Descriptor, raw)
	return warning, err
}

// put stores the manifest d under a tag or its digest. If it names a subject and the
// registry does not say that it understood, put keeps the list of referrers in its
// place, and reports that.
func (t *registryTarget) put(ctx context.Context, id string, d ocispec.Descriptor, raw []byte) (listed bool, err error) {
	links, err := mediatypes.ParseLinks(raw, d)
	if err != nil {
		return false, refusal(err)
	}
	header, err := t.putRaw(ctx, id, d.MediaType, raw)
	if err != nil || links.Subject == nil || header.Get("OCI-Subject") != "" {
		return false, err
	}
	r := referrer{Descriptor: d, subject: *links.Subject}
	r.ArtifactType, r.Annotations = links.Kind(), links.Annotations
	return true, t.listReferrer(ctx, r)
}

// listTries is how often the list of referrers is written anew because another
// writer wrote it at the same time.
const listTries = 5

// listReferrer adds r to the list under the fallback tag of its subject. Nothing
// locks a tag, so it reads the list again after it wrote it.
func (t *registryTarget) listReferrer(ctx context.Context, r referrer) error {
	tag := fallbackTag(r.subject.Digest)
	for range listTries {
		x := newIndexFile()
		d, raw, err := t.fetchTag(ctx, tag)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && d.Digest == r.subject.Digest:
		case err != nil:
			return err
		case d.MediaType != ocispec.MediaTypeImageIndex:
			return fmt.Errorf("the tag %s names no list of referrers but a %s: remove it", tag, d.MediaType)
		default:
			if x, err = parseIndexFile(raw); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(x.entries, func(e ocispec.Descriptor) bool { return e.Digest == r.Digest }) {
			return nil
		}
		if raw, err = x.with(r.Descriptor, ""); err != nil {
			return err
		}
		if _, err := t.putRaw(ctx, tag, ocispec.MediaTypeImageIndex, raw); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s: the tag %s loses what is written to it: try again when nobody else writes referrers", ErrRegistry, t.host(), tag)
}

// putRaw stores a manifest under a tag or its digest and returns the header of
// the answer.
func (t *registryTarget) putRaw(ctx context.Context, id, mediaType string, raw []byte) (header http.Header, err error) {
	u := url.URL{
		Scheme: t.repo.Scheme(), Host: t.repo.RegistryStr(),
		Path: "/v2/" + t.repo.RepositoryStr() + "/manifests/" + id,
	}
	err = t.persist(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", mediaType)
		resp, err := t.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		header = resp.Header
		return transport.CheckError(resp, http.StatusOK, http.StatusCreated, http.StatusAccepted)
	})
	return header, err
}
