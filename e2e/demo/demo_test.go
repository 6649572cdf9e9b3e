package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a tool that stores a copy of the directory next to itself. BREAK is
// what it does to the files that it pulls.
const fake = `#!/bin/sh -e
store=$(dirname "$0")/store
case $1 in
push) cp -r "$3" "$store" ;;
inspect) echo '{"decoded": 5, "encoded": 4, "dtypes": [{"dtype": "BF16", "tensors": 1, "decoded": 5, "encoded": 4}]}' ;;
verify) ;;
pull) cp -r "$store" "$5"; cd "$5"; BREAK ;;
esac
`

// TestTrial proves that the demonstration fails when a tool does not give back
// what it was given.
func TestTrial(t *testing.T) {
	for name, c := range map[string]struct {
		sabotage string
		want     string // a part of the error
	}{
		"faithful":     {":", ""},
		"other byte":   {"printf wexghts >a", "differ"},
		"shorter":      {"printf weight >a", "differ"},
		"mode":         {"chmod 755 a", "is -rwxr-xr-x, want -rw-r--r--"},
		"file missing": {"rm a", "lacks a"},
		"file extra":   {"touch b", "holds b"},
		"failure":      {"echo no luck >&2; exit 5", "no luck"},
	} {
		d := &demo{dir: t.TempDir()}
		dir := t.TempDir()
		for file, content := range map[string]string{
			filepath.Join(d.dir, "oras-bsm"): strings.ReplaceAll(fake, "BREAK", c.sabotage),
			filepath.Join(dir, "a"):          "weights",
		} {
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(d.dir, "oras-bsm"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := d.trial(t.Context(), name, dir, "oci:"+d.dir+"/layout:v1")
		if c.want == "" {
			if err != nil || len(d.rows) != 1 {
				t.Errorf("%s: %v, %d rows", name, err, len(d.rows))
				continue
			}
			var table strings.Builder
			d.print(&table)
			if !strings.Contains(table.String(), "BF16 80.00 %") {
				t.Errorf("the table lacks a ratio of 80 %%:\n%s", table.String())
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}
