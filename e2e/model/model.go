// Package model generates complete, realistic models for tests, benchmarks
// and demonstrations: a directory as the Hugging Face hub would serve it, of
// any size, from a seed.
//
// The weights follow the statistics of trained dense transformers closely
// enough that a codec measured on them gives the ratios it gives on published
// models: each row has its own log-normal scale, a few columns are outliers,
// and the values are a mixture of two normal distributions.
//
// The bytes depend on [Options] alone, not on GOMAXPROCS, nor on which CPU of
// one architecture does the work. Across architectures the last bit of a rare
// weight may differ, because the tail of the normal distribution goes through
// math.Log. A tensor's bytes depend on its name, shape and dtype and on the
// seed, so models that differ only in shards or number of layers share blocks.
package model

import (
	"fmt"
	"os"
)

// Options says what to generate. The zero value is a BF16 model of 64 MiB.
type Options struct {
	Size   int64  // bytes of all tensors together; 0: 64 MiB, or what Layers and Hidden amount to when both are set
	Dtype  Dtype  // of the weights; "": BF16
	Shards int    // safetensors files; 0: 3, or one for each 5 GB where that is more
	Layers int    // transformer blocks; 0: as many as Size has room for
	Hidden int    // width, a multiple of 32; 0: suited to Size
	Seed   uint64 // another seed is another model of the same shapes
	Tied   bool   // lm_head.weight holds the same bytes as the embedding
}

// Generate writes a model to dir, which it creates if need be, replacing
// files of the same names. Memory use does not grow with the size of the
// model. With one shard the weights are model.safetensors and there is no
// index, as on the hub.
func Generate(dir string, o Options) error {
	p, err := newPlan(o)
	if err != nil {
		return fmt.Errorf("planning the model: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := p.writeFiles(dir); err != nil {
		return err
	}
	return p.writeShards(dir)
}
