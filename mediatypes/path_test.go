package mediatypes

import (
	"errors"
	"strings"
	"testing"
)

func TestValidPath(t *testing.T) {
	for _, p := range []string{
		"a", "config.json", "a/b/c", ".gitattributes", "..a", "a..b", "-x", " a", "model:v1", "tokenizer (1).json",
		"模型/重み.safetensors", "e\u0301", "👩\u200d🔬", strings.Repeat("x", MaxPathPart), strings.Repeat("a/", MaxPathDepth-1) + "a",
	} {
		if err := ValidPath(p); err != nil {
			t.Error(err)
		}
	}
	tests := []struct{ path, reason string }{
		{"", "empty"},
		{"/x", "absolute"},
		{"//x", "absolute"},
		{"../x", `".."`},
		{"a/../../x", `".."`},
		{"..", `".."`},
		{".", `"."`},
		{"./a", `"."`},
		{"a//b", "empty part"},
		{"a/", "empty part"},
		{`C:\x`, "drive"},
		{"c:x", "drive"},
		{`a\b`, "backslash"},
		{"a\x00b", "U+0000"},
		{"a\nb", "U+000A"},
		{"a\x1b[2Jb", "U+001B"},
		{"a\u0085", "U+0085"},
		{"a\u2028b", "U+2028"},
		{"a\u202etxt.py", "U+202E"},
		{"a\u2066b", "U+2066"},
		{"a\u200eb", "U+200E"},
		{"a\u061cb", "U+061C"},
		{"a\xff", "UTF-8"},
		{"a./b", "dot or a space"},
		{"a ", "dot or a space"},
		{"...", "dot or a space"},
		{strings.Repeat("x", MaxPathPart+1), "255"},
		{strings.Repeat("x/", 2500), "4095"},
		{strings.Repeat("a/", MaxPathDepth) + "a", "32 parts"},
	}
	for _, tt := range tests {
		err := ValidPath(tt.path)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Object, "path ") || !strings.Contains(e.Reason, tt.reason) {
			t.Errorf("%.40q: got %v, want %s", tt.path, err, tt.reason)
		} else if strings.ContainsFunc(err.Error(), unsafeRune) || len(err.Error()) > 1000 {
			t.Errorf("%.40q: message %q", tt.path, err)
		}
		if err := CheckPaths([]string{"ok", tt.path}); err == nil {
			t.Errorf("%.40q: CheckPaths accepts it", tt.path)
		}
	}
}

func TestCheckPaths(t *testing.T) {
	tests := []struct {
		paths  string // separated by spaces
		reason string // "": accepted
	}{
		{"", ""},
		{"a", ""},
		{"a b c/a c/b c/d/a", ""},
		{"a-b a/b ab a.b", ""},
		{"a/x b/X", ""},
		{"a b a", "twice"},
		{"x/y x/y", "twice"},
		{"a a/b", "directory"},
		{"a/b a", "directory"},
		{"a/b/c a/b", "directory"},
		{"README.md readme.md", "only by case"},
		{"A/x a/y", "only by case"},
		{"a/X/1 a/x/2", "only by case"},
		{"é e\u0301", "only by case"},
		{"É e\u0301", "only by case"},
		{"straße STRASSE", "only by case"},
		{"\u212a k", "only by case"}, // the Kelvin sign
		{"σ ς", "only by case"},
	}
	for _, tt := range tests {
		err := CheckPaths(strings.Fields(tt.paths))
		switch {
		case tt.reason == "" && err != nil:
			t.Errorf("%q: %v", tt.paths, err)
		case tt.reason != "" && (err == nil || !strings.Contains(err.Error(), tt.reason)):
			t.Errorf("%q: got %v, want %s", tt.paths, err, tt.reason)
		}
	}
}
