package oci

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
)

// refKind says which store a reference names.
type refKind uint8

const (
	kindRegistry refKind = iota + 1
	kindLayout
	kindArchive
)

const (
	layoutPrefix  = "oci:"
	archivePrefix = "oci-archive:"
	defaultTag    = "latest"
	hubAlias      = "docker.io"
)

// The grammars of the distribution spec v1.1.1, section "Pulling manifests".
var (
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	repoGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
)

// Reference names one artifact in one store: a tag, or a digest. The zero
// value names nothing. See ParseReference.
type Reference struct {
	kind      refKind
	repo      name.Repository // registries
	path      string          // layouts and archives
	tag       string          // "" when digest is set
	digest    digest.Digest
	tagged    bool // the tag was written, not defaulted
	plainHTTP bool
}

// ParseReference reads one of
//
//	HOST[:PORT]/REPOSITORY[:TAG]     a registry
//	HOST[:PORT]/REPOSITORY@DIGEST
//	oci:DIR[:TAG]  oci:DIR@DIGEST    an OCI image layout
//	oci-archive:FILE[:TAG]           one tar that holds an OCI image layout
//	oci-archive:FILE@DIGEST
//
// TAG defaults to latest. A registry is always named: "ubuntu" and "org/model"
// are refused, because a model sent to Docker Hub by a forgotten host name is
// hard to take back. In DIR and FILE what follows the last ':' behind the last
// '/' is the tag, so a name with a colon in its last part needs a tag.
//
// Registries are spoken to over https. plainHTTP also allows http. Without it
// http is used for this machine alone: localhost, 127.0.0.0/8 and ::1.
func ParseReference(s string, plainHTTP bool) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fail("parsing reference", fmt.Sprintf("%q", s), err)
	}
	r.plainHTTP = plainHTTP
	return r, nil
}

func parseReference(s string) (Reference, error) {
	if rest, ok := strings.CutPrefix(s, layoutPrefix); ok {
		return parsePath(kindLayout, rest)
	}
	if rest, ok := strings.CutPrefix(s, archivePrefix); ok {
		return parsePath(kindArchive, rest)
	}
	return parseRemote(s)
}

// parsePath reads what follows "oci:" or "oci-archive:".
func parsePath(kind refKind, s string) (Reference, error) {
	r := Reference{kind: kind, path: s, tag: defaultTag}
	if i := strings.LastIndexByte(s, '@'); i >= 0 && isDigestLike(s[i+1:]) {
		d, err := parseDigest(s[i+1:])
		if err != nil {
			return Reference{}, err
		}
		r.path, r.tag, r.digest = s[:i], "", d
	} else if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		if !tagGrammar.MatchString(s[i+1:]) {
			return Reference{}, fmt.Errorf("%q is not a tag", s[i+1:])
		}
		r.path, r.tag, r.tagged = s[:i], s[i+1:], true
	}
	if r.path == "" {
		return Reference{}, errors.New("the path is empty")
	}
	if strings.ContainsRune(r.path, 0) {
		return Reference{}, errors.New("the path holds a zero byte")
	}
	return r, nil
}

func isDigestLike(s string) bool {
	return strings.HasPrefix(s, "sha256:") || strings.HasPrefix(s, "sha512:")
}

// parseDigest accepts the two algorithms that the image spec registers, in
// their one spelling. Nothing else may become part of a file name or URL.
func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if !isDigestLike(s) || d.Validate() != nil {
		return "", fmt.Errorf("%.200q is not a sha256 or sha512 digest", s)
	}
	return d, nil
}

// parseRemote reads a reference to a registry.
func parseRemote(s string) (Reference, error) {
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return Reference{}, errors.New("leave out the scheme: HOST/REPOSITORY:TAG")
	}
	host, rest, ok := strings.Cut(s, "/")
	if !ok || host != "localhost" && !strings.ContainsAny(host, ".:") {
		full := s
		if !ok {
			full = "library/" + s
		}
		return Reference{}, fmt.Errorf("name the registry: %s/%s", hubAlias, full)
	}
	r := Reference{kind: kindRegistry, tag: defaultTag}
	rest, dig, ok := strings.Cut(rest, "@")
	if ok {
		d, err := parseDigest(dig)
		if err != nil {
			return Reference{}, err
		}
		r.tag, r.digest = "", d
	}
	repo, tag, ok := strings.Cut(rest, ":")
	if ok && !tagGrammar.MatchString(tag) {
		return Reference{}, fmt.Errorf("%q is not a tag", tag)
	}
	if ok && r.digest == "" { // a digest beside a tag decides alone
		r.tag, r.tagged = tag, true
	}
	if !repoGrammar.MatchString(repo) {
		return Reference{}, fmt.Errorf("%q is not a repository: lower case letters, digits and . _ - between slashes", repo)
	}
	if host == hubAlias && !strings.Contains(repo, "/") {
		return Reference{}, fmt.Errorf("name the whole repository: %s/library/%s", hubAlias, rest)
	}
	var err error
	r.repo, err = name.NewRepository(host+"/"+repo, name.StrictValidation)
	return r, err
}

// ParseStore reads oci:DIR or oci-archive:FILE, or DIR or FILE alone: a whole
// store, not one artifact in it.
func ParseStore(s string) (Reference, error) {
	r := Reference{kind: kindArchive, path: s, tag: defaultTag}
	if strings.HasPrefix(s, layoutPrefix) || strings.HasPrefix(s, archivePrefix) {
		var err error
		if r, err = ParseReference(s, false); err != nil {
			return r, err
		}
	} else if fi, err := os.Stat(s); err == nil && fi.IsDir() {
		r.kind = kindLayout
	}
	return r, fail("opening", s, r.checkWhole())
}

// String gives back the reference in its canonical form, which ParseReference
// reads as the same reference.
func (r Reference) String() string {
	id := ":" + r.tag
	if r.digest != "" {
		id = "@" + r.digest.String()
	}
	switch r.kind {
	case kindRegistry:
		return displayHost(r.repo.RegistryStr()) + "/" + r.repo.RepositoryStr() + id
	case kindLayout:
		return layoutPrefix + r.path + id
	case kindArchive:
		return archivePrefix + r.path + id
	}
	return ""
}

// displayHost undoes the renaming of Docker Hub by package name.
func displayHost(host string) string {
	if host == name.DefaultRegistry {
		return hubAlias
	}
	return host
}

// isLoopback reports whether host, with or without a port, is this machine by
// its name or literal address. No name is resolved.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// InArchive returns the reference that names in the archive FILE what r names in
// its store: a tag, or a digest. Of the zero Reference it is the one artifact that
// the archive holds.
func (r Reference) InArchive(file string) (Reference, error) {
	a := Reference{kind: kindArchive, path: file, tag: r.tag, digest: r.digest, tagged: r.tag != ""}
	if r.kind == 0 {
		a.tag = defaultTag
	}
	if file == "" || strings.ContainsRune(file, 0) {
		return Reference{}, fail("parsing reference", fmt.Sprintf("%q", archivePrefix+file), errors.New("the path is empty or holds a zero byte"))
	}
	return a, nil
}
