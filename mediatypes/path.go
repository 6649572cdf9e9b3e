package mediatypes

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ValidPath reports whether p may name a file of a model: a relative path of
// parts separated by slashes that means the same file on every system. It
// refuses empty, "." and ".." parts, backslashes and drive letters, parts that
// end in a dot or a space, control characters, line separators and characters
// that change the direction of text, and what exceeds [MaxPath], [MaxPathPart]
// or [MaxPathDepth].
//
// A valid path still has to be opened through [os.Root]: the tree it is opened
// in may hold symbolic links.
func ValidPath(p string) error {
	if err := checkPath(p); err != nil {
		return within("path \""+printable(p)+"\"", err)
	}
	return nil
}

// CheckPaths reports whether files of all the paths can exist side by side in
// one directory, on file systems that ignore case or normalise Unicode too.
// Each path must be valid, no two may be the same, none may be a directory of
// another, and no two files or directories may differ only by case or by
// Unicode normalisation.
func CheckPaths(paths []string) error {
	for _, p := range paths {
		if err := ValidPath(p); err != nil {
			return err
		}
	}
	if i, err := checkTwins(paths); err != nil {
		return within("path \""+printable(paths[i])+"\"", err)
	}
	return nil
}

// checkPath is ValidPath with an error that leaves the object to be named.
func checkPath(p string) *Error {
	switch {
	case p == "":
		return wrong("", "is empty")
	case len(p) > MaxPath:
		return wrong("", "is longer than %d bytes", MaxPath)
	case !utf8.ValidString(p):
		return wrong("", "is not UTF-8")
	case p[0] == '/':
		return wrong("", "is absolute")
	case len(p) > 1 && p[1] == ':' && p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z':
		return wrong("", "starts with a drive letter")
	case strings.Count(p, "/") >= MaxPathDepth:
		return wrong("", "has more than %d parts", MaxPathDepth)
	}
	for _, r := range p {
		if r == '\\' {
			return wrong("", "has a backslash")
		}
		if unsafeRune(r) {
			return wrong("", "has the character %U", r)
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "":
			return wrong("", "has an empty part")
		case part == "." || part == "..":
			return wrong("", "has the part %q", part)
		case len(part) > MaxPathPart:
			return wrong("", "has a part longer than %d bytes", MaxPathPart)
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return wrong("", "has a part that ends in a dot or a space")
		}
	}
	return nil
}

// unsafeRune reports whether r may deceive who reads a path: a control
// character, a line or paragraph separator, or a control of text direction.
func unsafeRune(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// checkTwins finds the first path that cannot exist beside the ones before it.
// It returns the path's index and what is wrong with it. The paths are valid.
func checkTwins(paths []string) (int, *Error) {
	type key struct {
		dir  int // entry of the directory, 0 for the root
		name string
	}
	type entry struct {
		name string
		file bool
		path int // the path that brought it
	}
	entries := make([]entry, 1, len(paths)+1)
	byName := make(map[key]int, len(paths))
	for i, p := range paths {
		dir := 0
		for p != "" {
			part, rest, deeper := strings.Cut(p, "/")
			k := key{dir, fold(part)}
			id, ok := byName[k]
			if !ok {
				id = len(entries)
				entries = append(entries, entry{part, !deeper, i})
				byName[k] = id
			} else if e := entries[id]; e.name != part {
				return i, wrong("", "differs only by case or normalisation from %q", printable(paths[e.path]))
			} else if e.file && !deeper {
				return i, wrong("", "is listed twice")
			} else if e.file || !deeper {
				return i, wrong("", "is a file and a directory: see %q", printable(paths[e.path]))
			}
			p, dir = rest, id
		}
	}
	return 0, nil
}

// fold maps names that some file system takes for one to the same string: the
// canonical caseless match of the Unicode Standard, section 3.13, D145.
func fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFD.String(cases.Fold().String(norm.NFD.String(s)))
		}
	}
	return strings.ToLower(s)
}
