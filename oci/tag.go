package oci

import (
	"context"
	"errors"
	"fmt"
)

// Tag gives what ref names another tag, in the same repository or layout. The
// manifest stays as it is, and no blob moves. A tag that was another's is moved.
func Tag(ctx context.Context, ref Reference, tag string, o *Options) (*TagResult, error) {
	r, err := giveTag(ctx, ref, tag, &o.withDefaults().StoreOptions)
	return r, fail("tagging", ref.String(), err)
}

func giveTag(ctx context.Context, ref Reference, tag string, o *StoreOptions) (*TagResult, error) {
	if !tagGrammar.MatchString(tag) {
		return nil, fmt.Errorf("%.200q is not a tag: letters, digits and . _ -, at most 128 of them", tag)
	}
	if ref.kind == kindArchive {
		return nil, errors.New("an archive is written as a whole: copy it to another one with the other tag, oras-bsm copy REF oci-archive:FILE:TAG")
	}
	to := ref
	to.tag, to.tagged, to.digest = tag, true, ""
	src, err := OpenSource(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	d, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	dst, err := OpenTarget(ctx, to, o)
	if err != nil {
		return nil, err
	}
	err = errors.Join(dst.Publish(ctx, d), dst.Close())
	if err != nil {
		return nil, err
	}
	return &TagResult{Ref: ref.String(), Tagged: to.String(), Digest: d.Digest}, nil
}
