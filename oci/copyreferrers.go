package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// maxReferrerDepth is how far referrers are followed: the signature of a bill of
// materials of a model is two deep.
const maxReferrerDepth = 4

// readReferrers adds to the closure what refers to its manifests, and what refers
// to that.
func (c *copier) readReferrers(ctx context.Context) error {
	subjects := slices.Clone(c.closure.manifests)
	for depth := 0; len(subjects) > 0; depth++ {
		lists, err := c.askReferrers(ctx, subjects)
		if err != nil {
			return err
		}
		before := len(c.closure.manifests)
		for i, list := range lists {
			if len(list) > 0 && depth == maxReferrerDepth {
				return fmt.Errorf("%w: what refers to %s nests deeper than %d", ErrCorrupt, c.root.Digest, maxReferrerDepth)
			}
			for _, d := range list {
				if err := c.addReferrer(ctx, subjects[i].Descriptor, d); err != nil {
					return err
				}
			}
		}
		subjects = slices.Clone(c.closure.manifests[before:])
	}
	return nil
}

// compareReferrers orders what Source.Referrers lists: stores have orders of their
// own, and an archive has the same bytes wherever it was made from.
func compareReferrers(a, b ocispec.Descriptor) int {
	const tag = ocispec.AnnotationRefName
	return cmp.Or(cmp.Compare(a.Annotations[tag], b.Annotations[tag]), cmp.Compare(a.Digest, b.Digest))
}

// askReferrers lists the referrers of each subject.
func (c *copier) askReferrers(ctx context.Context, subjects []closureManifest) ([][]ocispec.Descriptor, error) {
	lists := make([][]ocispec.Descriptor, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(uploads, c.opts.Jobs))
	for i, s := range subjects {
		g.Go(func() (err error) {
			lists[i], err = c.src.Referrers(ctx, s.Descriptor)
			slices.SortFunc(lists[i], compareReferrers)
			return err
		})
	}
	return lists, g.Wait()
}

// addReferrer reads d, which was listed as a referrer of subject, and all below it.
// What turns out to be none is left out: lists are written by anybody, and outlive
// what they name.
func (c *copier) addReferrer(ctx context.Context, subject, d ocispec.Descriptor) error {
	r := referrer{subject: subject, tag: d.Annotations[ocispec.AnnotationRefName]}
	r.Descriptor = ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if err := checkDescriptor(d); err != nil {
		return err
	}
	same := func(o referrer) bool { return o.Digest == r.Digest && o.tag == r.tag }
	if slices.ContainsFunc(c.closure.referrers, same) {
		return nil
	}
	if len(c.closure.referrers) == maxReferrers {
		return fmt.Errorf("%w: more than %d manifests refer to %s", ErrCorrupt, maxReferrers, c.root.Digest)
	}
	leave := func(why string) error {
		c.warnf("%s is listed as a referrer of %s and %s: it is not copied", d.Digest, subject.Digest, why)
		return nil
	}
	if !isManifest(d.MediaType) {
		return leave("is a " + plainText(d.MediaType))
	}
	err := c.closure.add(ctx, r.Descriptor)
	m := c.closure.find(d.Digest)
	switch {
	case m == nil && (err == nil || errors.Is(err, ErrNotFound)):
		return leave("is not there")
	case err != nil:
		return err
	case r.tag == "" && (m.links.Subject == nil || m.links.Subject.Digest != subject.Digest):
		return leave("does not refer to it")
	}
	r.ArtifactType, r.Annotations = m.links.Kind(), m.links.Annotations
	c.closure.referrers = append(c.closure.referrers, r)
	return nil
}
