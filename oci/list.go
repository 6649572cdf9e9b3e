package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// Bounds of what List takes from a registry.
const (
	maxTags     = 100_000
	maxTagPages = 2000
	maxTagsBody = 16 << 20
	tagsPerPage = 1000
)

// List lists the tags of the repository that ref names, or the entries of the
// layout or archive, which it also looks into. The tag or digest of ref counts
// for nothing; one that was written is refused for a layout or archive.
func List(ctx context.Context, ref Reference, o *Options) (*ListResult, error) {
	opts := o.withDefaults()
	if ref.kind == kindRegistry {
		r, err := listTags(ctx, ref, opts)
		return r, fail("listing", ref.repoName(), err)
	}
	r, err := listEntries(ctx, ref)
	return r, fail("listing", ref.storeName(), err)
}

// repoName names the repository without the tag.
func (r Reference) repoName() string {
	return displayHost(r.repo.RegistryStr()) + "/" + r.repo.RepositoryStr()
}

// listTags asks a registry for page after page: distribution spec v1.1, "Listing
// Tags".
func listTags(ctx context.Context, ref Reference, o *Options) (*ListResult, error) {
	r, err := dialRegistry(ctx, ref, &o.StoreOptions, transport.PullScope, defaultPatience)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	res := &ListResult{Ref: ref.repoName(), Entries: []EntryReport{}}
	next := &url.URL{
		Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(), Path: "/v2/" + r.repo.RepositoryStr() + "/tags/list",
		RawQuery: "n=" + strconv.Itoa(tagsPerPage),
	}
	seen := map[string]bool{}
	for range maxTagPages {
		tags, links, err := r.tagPage(ctx, next)
		if err != nil {
			return nil, r.fault(err)
		}
		for _, tag := range tags {
			switch {
			case seen[tag]:
				continue // some registries repeat the last of the page before
			case !tagGrammar.MatchString(tag):
				return nil, fmt.Errorf("%w: %s answers with %.200q among the tags", ErrRegistry, r.host(), tag)
			case len(seen) == maxTags:
				res.Truncated = true
				return res, nil
			}
			seen[tag] = true
			res.Entries = append(res.Entries, EntryReport{Tag: tag})
		}
		if next, err = nextTags(next, links); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrRegistry, r.host(), err)
		}
		if next == nil {
			return res, nil
		}
	}
	return nil, fmt.Errorf("%w: %s sends more than %d pages of tags", ErrRegistry, r.host(), maxTagPages)
}

// tagPage gets one page of tags and its Link headers.
func (r *registry) tagPage(ctx context.Context, u *url.URL) (tags, links []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxTagsBody+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxTagsBody {
		return nil, nil, fmt.Errorf("a page of tags of more than %d bytes", maxTagsBody)
	}
	var doc struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("the list of tags: %w", err)
	}
	return doc.Tags, resp.Header.Values("Link"), nil
}

// nextTags returns the URL that Link headers name as the next page after from, or
// nil. It must be the same list, further on: whoever gets a request of ours gets its
// credentials.
func nextTags(from *url.URL, links []string) (*url.URL, error) {
	next, err := nextPage(from, links)
	if err != nil || next == nil {
		return nil, err
	}
	if next.Path != from.Path {
		return nil, fmt.Errorf("the link to the next page leads to %.200q", next.Path)
	}
	if next.RawQuery == from.RawQuery {
		return nil, errors.New("the link to the next page leads to the same page")
	}
	return next, nil
}

// listEntries reads index.json and what its entries name.
func listEntries(ctx context.Context, ref Reference) (*ListResult, error) {
	f, err := openStore(ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := readStore(ctx, f)
	if err != nil {
		return nil, err
	}
	res := &ListResult{Ref: ref.storeName(), Entries: []EntryReport{}}
	known := map[digest.Digest]EntryReport{}
	for _, d := range g.entries {
		e, ok := known[d.Digest]
		if !ok {
			if e, err = g.describe(ctx, f, ref, d); err != nil {
				return nil, err
			}
			known[d.Digest] = e
		}
		e.Tag = d.Annotations[ocispec.AnnotationRefName]
		res.Entries = append(res.Entries, e)
	}
	return res, nil
}

// describe tells of what entry d of the layout or archive f names. An error is
// that of ctx: all others are problems of the entry.
func (g *graph) describe(ctx context.Context, f files, ref Reference, d ocispec.Descriptor) (EntryReport, error) {
	e := EntryReport{Digest: d.Digest, MediaType: d.MediaType}
	top := g.nodes[d.Digest]
	seen := map[*node]bool{top: true}
	for todo := []*node{top}; len(todo) > 0; todo = todo[1:] {
		n := todo[0]
		if n.err != nil {
			e.Problem = fmt.Sprintf("%s: %v", n.Digest, n.err)
		}
		if n.links == nil {
			continue
		}
		if e.ArtifactType == "" {
			e.ArtifactType = n.links.ArtifactType
		}
		for _, c := range n.names {
			if seen[c] {
				continue
			}
			seen[c] = true
			config := n.links.Config != nil && n.links.Config.Digest == c.Digest
			if c.manifest {
				todo = append(todo, c)
			} else if !config && c.Size <= math.MaxInt64-e.Encoded {
				e.Encoded += c.Size
			}
		}
	}
	if e.ArtifactType != mediatypes.ArtifactType || e.Problem != "" {
		return e, ctx.Err()
	}
	a := &Artifact{src: &layoutSource{files: f, ref: Reference{kind: ref.kind, path: ref.path, digest: d.Digest}}, ref: ref}
	if err := a.open(ctx); err != nil {
		e.Problem = err.Error()
		return e, ctx.Err()
	}
	decoded := a.decodedSize()
	e.Encoded, e.Decoded = a.encodedSize(), &decoded
	return e, nil
}
