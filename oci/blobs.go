package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// This file opens a layout or an archive as a whole, and lists what it holds.

// badPrefix starts the name of a damaged blob that repair has moved aside.
const badPrefix = ".bad-"

// blobDirs are the directories of the digests that parseDigest accepts.
var blobDirs = map[digest.Algorithm]string{digest.SHA256: blobDir, digest.SHA512: "blobs/sha512"}

// A lister lists the regular files in a directory of a layout, by their names,
// with their sizes. A directory that is not there is empty.
type lister interface {
	list(dir string) (map[string]int64, error)
}

// listBlobs lists the blobs that a layout holds, with the sizes of their files,
// whatever these hold. rest lists the other files in the same directories.
func listBlobs(f files) (blobs map[digest.Digest]int64, rest map[string]int64, err error) {
	l, ok := f.(lister)
	if !ok {
		return nil, nil, errors.New("the blobs of such a store cannot be listed")
	}
	blobs, rest = map[digest.Digest]int64{}, map[string]int64{}
	for algorithm, dir := range blobDirs {
		names, err := l.list(dir)
		if err != nil {
			return nil, nil, err
		}
		for name, size := range names {
			if d, err := parseDigest(algorithm.String() + ":" + name); err == nil {
				blobs[d] = size
			} else {
				rest[dir+"/"+name] = size
			}
		}
	}
	return blobs, rest, nil
}

// storeName names the store without the tag.
func (r Reference) storeName() string {
	if r.kind == kindArchive {
		return archivePrefix + r.path
	}
	return layoutPrefix + r.path
}

// openStore opens the files of the layout or archive that ref names as a whole.
func openStore(ref Reference) (files, error) {
	if err := ref.checkWhole(); err != nil {
		return nil, err
	}
	open := openLayoutSource
	if ref.kind == kindArchive {
		open = openArchiveSource
	}
	s, err := open(ref)
	if err != nil {
		return nil, err
	}
	return s.(*layoutSource).files, nil
}

// checkWhole refuses what is no layout or archive, or one artifact in it.
func (r Reference) checkWhole() error {
	switch {
	case r.kind == kindRegistry:
		return errors.New("a registry keeps its own store: name oci:DIR or oci-archive:FILE")
	case r.kind == 0:
		return errNoReference
	case r.tagged || r.digest != "":
		return fmt.Errorf("this is about the whole store: name it without a tag or digest, as %s", r.storeName())
	}
	return nil
}

// isTemporary reports whether the file of that path belongs to a writer, or was
// moved aside.
func isTemporary(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.HasPrefix(name, tempPrefix) || strings.HasPrefix(name, partPrefix) || strings.HasPrefix(name, badPrefix)
}

func (d dirFiles) list(dir string) (map[string]int64, error) {
	entries, err := fs.ReadDir(d.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, e := range entries {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went between the two looks
		}
		if err != nil {
			return nil, err
		}
		if fi.Mode().IsRegular() {
			out[e.Name()] = fi.Size()
		}
	}
	return out, nil
}

func (t *tarFiles) list(dir string) (map[string]int64, error) {
	out := map[string]int64{}
	for name, s := range t.spans {
		if path.Dir(name) == dir {
			out[path.Base(name)] = s.size
		}
	}
	return out, nil
}
