package oci

import (
	"regexp"
	"strconv"
	"strings"
)

// stacks are the words that name a stack of blocks in tensor names: a block is
// such a word and a number, as in "model.layers.7.mlp.up_proj.weight". Each
// line says whose names they are. mediatypes/ARTIFACT.md, "Blocks".
var stacks = map[string]bool{
	"layers":     true, // Llama, Mistral, Mixtral, Qwen, Gemma, Phi, OPT, GPT-NeoX, Mamba, Whisper, CLIP
	"layer":      true, // BERT, RoBERTa, ViT
	"h":          true, // GPT-2, Falcon, BLOOM
	"blk":        true, // GGUF
	"block":      true, // T5
	"blocks":     true, // RWKV, MPT, DiT, timm, AI-Writer
	"resblocks":  true, // OpenCLIP
	"groups":     true, // ALBERT's older names
	"attentions": true, // flat attention stacks

	"albert_layer_groups": true, // ALBERT

	"encoder_layers": true, "decoder_layers": true, // BART-like exports
	"down_blocks": true, "up_blocks": true, // diffusers UNet
	"input_blocks": true, "output_blocks": true, // latent-diffusion UNet
	"transformer_blocks": true, "single_transformer_blocks": true, // SD3, Flux in diffusers, PixArt
	"double_blocks": true, "single_blocks": true, // Flux, Hunyuan
	"joint_blocks": true, "double_layers": true, "single_layers": true, // MMDiT, AuraFlow
}

// stackless are words that name a block of which there is only one.
var stackless = map[string]bool{"mid_block": true, "middle_block": true}

// A block is a transformer block, or the like: number in stack. No block has
// the stack "".
type block struct {
	stack  string
	number int
}

// kohya matches the flat names of LoRA files for Stable Diffusion, which have
// underscores where others have dots: "lora_unet_down_blocks_0_attentions_1_...".
var kohya = regexp.MustCompile(`^(lora_[a-z0-9]+?(?:_[a-z0-9]+)*?_(?:down_blocks|up_blocks|input_blocks|output_blocks|layers|blocks|double_blocks|single_blocks|transformer_blocks))_(\d{1,6})_`)

// blockOf finds the block that a tensor belongs to by its name: the outermost
// pair of a stack's word and a number. The second result is false for a tensor
// of no block, such as an embedding.
func blockOf(name string) (block, bool) {
	if m := kohya.FindStringSubmatch(name); m != nil {
		n, _ := strconv.Atoi(m[2])
		return block{m[1], n}, true
	}
	end := -1 // of the current word
	for word := range strings.SplitSeq(name, ".") {
		end += 1 + len(word)
		if stackless[word] {
			return block{name[:end], 0}, true
		}
		if !stacks[word] || end == len(name) {
			continue
		}
		number, _, _ := strings.Cut(name[end+1:], ".")
		// Six digits are enough for every stack; a longer number is no place in one.
		if n, err := strconv.Atoi(number); err == nil && len(number) <= 6 && number[0] >= '0' {
			return block{name[:end], n}, true
		}
	}
	return block{}, false
}

var shard = regexp.MustCompile(`-\d{5}-of-\d{5}$`)

// family names what the shards of one model have in common: the path without
// the extension and the shard's number. Blocks of the same name in two families
// are different blocks.
func family(path string) string {
	path = strings.TrimSuffix(strings.TrimSuffix(path, ".safetensors"), ".gguf")
	return shard.ReplaceAllString(path, "")
}
