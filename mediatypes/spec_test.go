package mediatypes

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSpecification reads ARTIFACT.md as an implementer would: its example
// parses, and its names are the package's.
func TestSpecification(t *testing.T) {
	spec, err := os.ReadFile("ARTIFACT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(spec), "```json\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	var tables []byte
	for _, c := range []Chunk{{Offset: 64, Encoded: 5476, Decoded: 8192}, {Offset: 64, Encoded: 86, Decoded: 150}} {
		tables = c.appendRecord(tables)
	}
	x, err := ParseIndex(frame(example, tables))
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Layers {
		if _, err := x.ChunkTable(i); err != nil {
			t.Error(err)
		}
	}
	for name, b := range blocks {
		size := fmt.Sprintf("%d/%d", b.bytes, b.elements)
		found := false
		for line := range strings.Lines(string(spec)) {
			found = found || strings.Contains(line, size) && strings.Contains(line, "`"+name+"`")
		}
		if !found {
			t.Errorf("does not say that %s has blocks of %s", name, size)
		}
	}
	for _, name := range []string{
		FormatSafetensors, FormatGGUF, ArtifactType, BlockLayer, FilesLayer, IndexLayer,
		AnnotationTitle, AnnotationStack, AnnotationBlock, AnnotationDecoded, AnnotationDtypes,
	} {
		if !strings.Contains(string(spec), "`"+name+"`") {
			t.Errorf("does not name %s", name)
		}
	}
}
