//go:build !purego

package kernel

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestFusedArgsAreNoPointers: what assembly writes to fusedArgs, which is in the
// heap, is no pointer. It steps addresses past the end of their slices, and the
// garbage collector ends a program that has a pointer to memory that is free.
func TestFusedArgsAreNoPointers(t *testing.T) {
	source, err := os.ReadFile("avx512_fused_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	args := reflect.TypeFor[fusedArgs]()
	written := 0
	for _, m := range regexp.MustCompile(`(?m)^\s*(\w+)\s.*?fusedArgs_(\w+)\(\w+\)\s*(;.*)?$`).FindAllStringSubmatch(string(source), -1) {
		if m[1] == "CMPQ" {
			continue
		}
		f, ok := args.FieldByName(m[2])
		if !ok {
			t.Fatalf("no field %s", m[2])
		}
		written++
		if k := f.Type.Kind(); k != reflect.Int && k != reflect.Uintptr {
			t.Errorf("%s: field %s is a %v", strings.TrimSpace(m[0]), f.Name, f.Type)
		}
	}
	if written < 5 {
		t.Errorf("%d writes were found: this proves nothing", written)
	}
}
