package oci

import "testing"

func TestBlockOf(t *testing.T) {
	for _, tt := range []struct {
		model, name string
		stack       string // "": no block
		number      int
	}{
		{"Llama", "model.layers.31.self_attn.q_proj.weight", "model.layers", 31},
		{"Llama", "model.embed_tokens.weight", "", 0},
		{"Llama", "model.norm.weight", "", 0},
		{"Llama", "lm_head.weight", "", 0},
		{"Llama 4", "language_model.model.layers.5.feed_forward.shared_expert.up_proj.weight", "language_model.model.layers", 5},
		{"Llama, original", "layers.0.attention.wq.weight", "layers", 0},
		{"Mistral, original", "layers.31.feed_forward.w1.weight", "layers", 31},
		{"Mixtral", "model.layers.9.block_sparse_moe.experts.7.w1.weight", "model.layers", 9},
		{"Qwen3-MoE", "model.layers.47.mlp.experts.127.gate_proj.weight", "model.layers", 47},
		{"Qwen2-VL", "visual.blocks.31.attn.qkv.weight", "visual.blocks", 31},
		{"DeepSeek-V3", "model.layers.61.mlp.experts.255.down_proj.weight_scale_inv", "model.layers", 61},
		{"Gemma 3", "language_model.model.layers.33.pre_feedforward_layernorm.weight", "language_model.model.layers", 33},
		{"Gemma 3", "vision_tower.vision_model.encoder.layers.26.mlp.fc1.bias", "vision_tower.vision_model.encoder.layers", 26},
		{"Gemma 3", "multi_modal_projector.mm_input_projection_weight", "", 0},
		{"Phi-3", "model.layers.0.self_attn.qkv_proj.weight", "model.layers", 0},
		{"Phi-1", "transformer.h.23.mixer.Wqkv.weight", "transformer.h", 23},
		{"GPT-2", "h.11.attn.c_attn.weight", "h", 11},
		{"GPT-2", "wte.weight", "", 0},
		{"GPT-J", "transformer.h.27.mlp.fc_in.bias", "transformer.h", 27},
		{"GPT-NeoX", "gpt_neox.layers.43.attention.query_key_value.weight", "gpt_neox.layers", 43},
		{"GPT-OSS", "model.layers.23.mlp.experts.gate_up_proj_blocks", "model.layers", 23},
		{"Falcon", "transformer.h.59.self_attention.dense.weight", "transformer.h", 59},
		{"Falcon", "transformer.word_embeddings.weight", "", 0},
		{"BLOOM", "h.69.self_attention.query_key_value.bias", "h", 69},
		{"BLOOM", "word_embeddings_layernorm.weight", "", 0},
		{"MPT", "transformer.blocks.31.attn.Wqkv.weight", "transformer.blocks", 31},
		{"OPT", "model.decoder.layers.5.fc1.weight", "model.decoder.layers", 5},
		{"BERT", "bert.encoder.layer.11.attention.self.query.weight", "bert.encoder.layer", 11},
		{"BERT", "bert.pooler.dense.weight", "", 0},
		{"ALBERT", "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "albert.encoder.albert_layer_groups", 0},
		{"T5", "encoder.block.3.layer.0.SelfAttention.q.weight", "encoder.block", 3},
		{"T5", "decoder.block.3.layer.1.EncDecAttention.v.weight", "decoder.block", 3},
		{"T5", "shared.weight", "", 0},
		{"T5", "encoder.final_layer_norm.weight", "", 0},
		{"BART", "model.encoder.layers.0.fc2.weight", "model.encoder.layers", 0},
		{"RWKV", "blocks.23.att.time_decay", "blocks", 23},
		{"RWKV", "rwkv.blocks.0.pre_ln.weight", "rwkv.blocks", 0},
		{"Mamba", "backbone.layers.47.mixer.A_log", "backbone.layers", 47},
		{"Whisper", "model.encoder.layers.31.fc1.weight", "model.encoder.layers", 31},
		{"Whisper", "model.decoder.layers.31.encoder_attn.k_proj.weight", "model.decoder.layers", 31},
		{"Whisper", "model.encoder.conv1.weight", "", 0},
		{"CLIP", "text_model.encoder.layers.11.mlp.fc1.weight", "text_model.encoder.layers", 11},
		{"CLIP", "vision_model.encoder.layers.2.layer_norm1.bias", "vision_model.encoder.layers", 2},
		{"CLIP", "logit_scale", "", 0},
		{"OpenCLIP", "visual.transformer.resblocks.23.attn.in_proj_weight", "visual.transformer.resblocks", 23},
		{"GGUF", "blk.31.attn_q.weight", "blk", 31},
		{"GGUF", "blk.3.ffn_gate_exps.weight", "blk", 3},
		{"GGUF", "v.blk.11.ffn_up.bias", "v.blk", 11},
		{"GGUF", "enc.blk.0.attn_rel_b.weight", "enc.blk", 0},
		{"GGUF", "token_embd.weight", "", 0},
		{"GGUF", "output_norm.weight", "", 0},
		{"ViT", "vit.encoder.layer.7.output.dense.weight", "vit.encoder.layer", 7},
		{"ViT, timm", "blocks.11.norm1.weight", "blocks", 11},
		{"UNet, diffusers", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight", "down_blocks", 1},
		{"UNet, diffusers", "mid_block.resnets.1.conv1.weight", "mid_block", 0},
		{"UNet, diffusers", "up_blocks.3.resnets.2.conv2.bias", "up_blocks", 3},
		{"UNet, diffusers", "time_embedding.linear_1.weight", "", 0},
		{"UNet, latent diffusion", "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.ff.net.2.weight", "model.diffusion_model.input_blocks", 4},
		{"UNet, latent diffusion", "model.diffusion_model.middle_block.1.proj_in.weight", "model.diffusion_model.middle_block", 0},
		{"UNet, latent diffusion", "model.diffusion_model.output_blocks.11.0.skip_connection.bias", "model.diffusion_model.output_blocks", 11},
		{"UNet, latent diffusion", "model.diffusion_model.time_embed.0.weight", "", 0},
		{"VAE", "decoder.up_blocks.3.resnets.0.norm1.weight", "decoder.up_blocks", 3},
		{"VAE", "encoder.mid_block.attentions.0.to_k.weight", "encoder.mid_block", 0},
		{"DiT", "blocks.27.mlp.fc1.weight", "blocks", 27},
		{"SD3, diffusers", "transformer_blocks.23.attn.add_q_proj.weight", "transformer_blocks", 23},
		{"SD3", "model.diffusion_model.joint_blocks.23.x_block.attn.qkv.weight", "model.diffusion_model.joint_blocks", 23},
		{"Flux", "double_blocks.18.img_attn.qkv.weight", "double_blocks", 18},
		{"Flux", "single_blocks.37.linear1.weight", "single_blocks", 37},
		{"Flux, diffusers", "single_transformer_blocks.37.proj_mlp.weight", "single_transformer_blocks", 37},
		{"Flux", "img_in.weight", "", 0},
		{"LoRA, kohya", "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", "lora_unet_down_blocks", 1},
		{"LoRA, kohya", "lora_te_text_model_encoder_layers_11_mlp_fc1.alpha", "lora_te_text_model_encoder_layers", 11},
		{"LoRA, kohya XL", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.lora_up.weight", "lora_unet_input_blocks", 4},
		{"LoRA, kohya XL", "lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_2.alpha", "lora_unet_output_blocks", 5},
		{"LoRA, kohya XL", "lora_te2_text_model_encoder_layers_31_self_attn_q_proj.lora_up.weight", "lora_te2_text_model_encoder_layers", 31},
		{"LoRA, kohya Flux", "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "lora_unet_double_blocks", 0},
		{"LoRA, kohya Flux", "lora_unet_single_blocks_37_linear1.alpha", "lora_unet_single_blocks", 37},
		{"LoRA, PEFT", "base_model.model.model.layers.5.self_attn.q_proj.lora_A.weight", "base_model.model.model.layers", 5},
		{"LoRA, PEFT", "base_model.model.lm_head.lora_B.weight", "", 0},
		{"LoRA, diffusers", "unet.up_blocks.1.attentions.2.proj_out.lora.down.weight", "unet.up_blocks", 1},

		{"none", "", "", 0},
		{"none", "weight", "", 0},
		{"none", "layers", "", 0},
		{"none", "model.layers", "", 0},
		{"none", "model.layers.", "", 0},
		{"none", "layers.norm.weight", "", 0},
		{"none", "0.weight", "", 0},
		{"none", "mylayers.0.weight", "", 0},
		{"none", "Layers.0.weight", "", 0},
		{"hostile", "layers.-1.w", "", 0},
		{"hostile", "layers.-0.w", "", 0},
		{"hostile", "layers.+1.w", "", 0},
		{"hostile", "layers.1e3.w", "", 0},
		{"hostile", "layers.0x10.w", "", 0},
		{"hostile", "layers.1_000.w", "", 0},
		{"hostile", "layers. 1.w", "", 0},
		{"hostile", "layers.1234567.w", "", 0},
		{"hostile", "layers.99999999999999999999.w", "", 0},
		{"hostile", "layers.\u0663.w", "", 0},
		{"hostile", "layers.999999.w", "layers", 999999},
		{"hostile", ".layers.1.w", ".layers", 1},
		{"hostile", "a..layers.1.w", "a..layers", 1},
		{"hostile", "...", "", 0},
		{"hostile", "lora_unet_down_blocks_1234567_x", "", 0},
	} {
		got, ok := blockOf(tt.name)
		want := block{tt.stack, tt.number}
		if got != want || ok != (tt.stack != "") {
			t.Errorf("%s: %q is of block %q %d, %t; want %q %d", tt.model, tt.name, got.stack, got.number, ok, want.stack, want.number)
		}
	}
}

func FuzzBlockOf(f *testing.F) {
	for _, s := range []string{"model.layers.7.x", ".layers.1.w", "layers", "mid_block", "lora_unet_down_blocks_0_x", "a..h.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		b, ok := blockOf(name)
		if ok != (b != block{}) || ok && (b.stack == "" || b.number < 0 || len(b.stack) > len(name) || name[:len(b.stack)] != b.stack) {
			t.Errorf("%q is of block %q %d, %t", name, b.stack, b.number, ok)
		}
	})
}

func TestFamily(t *testing.T) {
	for path, want := range map[string]string{
		"model.safetensors":                         "model",
		"model-00001-of-00003.safetensors":          "model",
		"model-00003-of-00003.safetensors":          "model",
		"unet/model-00001-of-00003.safetensors":     "unet/model",
		"model-Q4_K_M.gguf":                         "model-Q4_K_M",
		"model-Q4_K_M-00001-of-00002.gguf":          "model-Q4_K_M",
		"model-1-of-3.safetensors":                  "model-1-of-3",
		"model-00001-of-00003-extra.safetensors":    "model-00001-of-00003-extra",
		"model.fp16-00001-of-00002.safetensors":     "model.fp16",
		"model-00001-of-00002/weights.safetensors":  "model-00001-of-00002/weights",
		"model-00001-of-00002-00003-of-00004.bogus": "model-00001-of-00002-00003-of-00004.bogus",
	} {
		if got := family(path); got != want {
			t.Errorf("%q is of family %q, want %q", path, got, want)
		}
	}
}
