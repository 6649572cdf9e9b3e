package oci_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oras-bsm/oras-bsm/oci"
)

// Store a model directory in an OCI layout, and get the same files back.
func Example() {
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(tmp)
	dir, out := filepath.Join(tmp, "model"), filepath.Join(tmp, "out")
	if err := os.Mkdir(dir, 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"llama"}`), 0o644); err != nil {
		panic(err)
	}

	ctx := context.Background()
	ref, err := oci.ParseReference("oci:"+filepath.Join(tmp, "store")+":v1", false)
	if err != nil {
		panic(err)
	}
	pushed, err := oci.Push(ctx, ref, dir, nil)
	if err != nil {
		panic(err)
	}
	if _, err := oci.Pull(ctx, ref, out, &oci.PullOptions{Verify: true}); err != nil {
		panic(err)
	}
	config, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil {
		panic(err)
	}
	fmt.Println(pushed.Layers, "layers,", pushed.Decoded, "bytes")
	fmt.Println(string(config))
	// Output:
	// 2 layers, 22 bytes
	// {"model_type":"llama"}
}
