package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-bsm/oras-bsm/mediatypes"
)

// maxNodes bounds a graph, which is held in memory.
const maxNodes = 1 << 20

// errUnknownType says that a manifest is of a kind that this package cannot
// follow: what it names is not known.
var errUnknownType = errors.New("not a kind of manifest that this release knows")

// A graph is what the entries of index.json name, and what that names in turn.
// Unlike reachable it goes on where something is missing or damaged: it serves
// those who look for that, and takes foreign images as well as models.
type graph struct {
	entries []ocispec.Descriptor // of index.json
	nodes   map[digest.Digest]*node
	order   []*node // entries first, then what they name, level by level
}

// A node is a blob or manifest in a graph.
type node struct {
	// Descriptor is as it was named first, without annotations. The type of a
	// manifest that could be read is what it is.
	ocispec.Descriptor

	by       []*node  // the manifests that name it
	names    []*node  // what it names
	entries  []string // the entries of index.json that name it: tags, or @DIGEST
	manifest bool     // it was named as a manifest or an image index
	depth    int
	links    *mediatypes.Links // of a manifest that could be read; its lists are in names
	err      error             // of a manifest: why it could not be read or followed
}

// mayName reports whether what has this media type may name other blobs. What
// BuildKit keeps as a cache, for example, is an image index of layers.
func mayName(mediaType string) bool {
	return isManifest(mediaType) || mediaType == "" || strings.Contains(mediaType, "manifest") || strings.HasSuffix(mediaType, "+json")
}

// readStore reads the graph of index.json, which must be there.
func readStore(ctx context.Context, f files) (*graph, error) {
	x, err := readIndexFile(f)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: no %s: nothing was published here yet, or it was lost", ErrNotFound, ocispec.ImageIndexFile)
	}
	if err != nil {
		return nil, err
	}
	return readGraph(ctx, f, x.entries)
}

// readGraph follows the entries of an index.json. An error is that of ctx, or
// says that there is more than can be held; all others are in the nodes.
func readGraph(ctx context.Context, f files, entries []ocispec.Descriptor) (*graph, error) {
	g := &graph{entries: entries, nodes: map[digest.Digest]*node{}}
	for _, d := range entries {
		n, err := g.add(d, nil)
		if err != nil {
			return nil, err
		}
		if mayName(d.MediaType) {
			n.manifest, n.MediaType = true, d.MediaType
		}
		name := "@" + d.Digest.String()
		if tag := d.Annotations[ocispec.AnnotationRefName]; tag != "" {
			name = tag
		}
		n.entries = append(n.entries, name)
	}
	todo := slices.DeleteFunc(slices.Clone(g.order), func(n *node) bool { return !n.manifest })
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		below, err := g.expand(f, n)
		if err != nil {
			return nil, err
		}
		todo = append(todo, below...)
	}
	return g, nil
}

// add returns the node of d, which by names.
func (g *graph) add(d ocispec.Descriptor, by *node) (*node, error) {
	n, ok := g.nodes[d.Digest]
	if !ok {
		if len(g.order) == maxNodes {
			return nil, fmt.Errorf("%w: more than %d blobs", ErrCorrupt, maxNodes)
		}
		n = &node{Descriptor: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, URLs: d.URLs}}
		if by != nil {
			n.depth = by.depth + 1
		}
		g.nodes[d.Digest] = n
		g.order = append(g.order, n)
	}
	if by == nil {
		return n, nil
	}
	if n.Size != d.Size {
		by.err = fmt.Errorf("%w: it names %s with %d bytes, and elsewhere that has %d", ErrCorrupt, d.Digest, d.Size, n.Size)
	}
	if k := len(n.by); k == 0 || n.by[k-1] != by {
		n.by = append(n.by, by)
		by.names = append(by.names, n)
	}
	return n, nil
}

// read reads manifest n.
func (n *node) read(f files) error {
	if n.depth > maxDepth {
		return fmt.Errorf("%w: image indexes nest deeper than %d", ErrCorrupt, maxDepth)
	}
	raw, err := readManifest(f, n.Descriptor)
	if err != nil {
		return err
	}
	t, err := manifestType(n.MediaType, raw)
	if errors.Is(err, ErrNotModel) {
		return fmt.Errorf("%w: %.200q", errUnknownType, n.MediaType)
	}
	if err != nil {
		return err
	}
	n.MediaType = t
	n.links, err = mediatypes.ReadLinks(raw, ocispec.Descriptor{MediaType: t, Digest: n.Digest, Size: n.Size})
	return refusal(err)
}

// expand reads manifest n and adds what it names. It returns the manifests among
// that which were not read yet.
func (g *graph) expand(f files, n *node) (todo []*node, err error) {
	if n.err = n.read(f); n.links == nil {
		return nil, nil
	}
	manifests, parts := n.links.Manifests, n.links.Layers
	n.links.Manifests, n.links.Layers = nil, nil
	if n.links.Config != nil {
		parts = append(parts, *n.links.Config)
	}
	for i, d := range slices.Concat(manifests, parts) {
		if err := checkDescriptor(d); err != nil {
			n.err = fmt.Errorf("it names a blob by %w", err)
			continue
		}
		c, err := g.add(d, n)
		if err != nil {
			return nil, err
		}
		if i < len(manifests) && mayName(d.MediaType) && !c.manifest {
			c.manifest, c.MediaType = true, d.MediaType
			todo = append(todo, c)
		}
	}
	return todo, nil
}

// users lists the entries of index.json that need n.
func (n *node) users() []string {
	seen, names := map[*node]bool{n: true}, map[string]bool{}
	for todo := []*node{n}; len(todo) > 0; {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range m.entries {
			names[plainText(e)] = true
		}
		for _, p := range m.by {
			if !seen[p] {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
