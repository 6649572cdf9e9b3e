package model

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// writeFiles writes everything but the weights.
func (p *plan) writeFiles(dir string) error {
	vocabulary := newVocabulary(int(min(p.vocab, maxTokens)), p.seed)
	docs := map[string]any{
		"config.json":            p.config(),
		"generation_config.json": generationConfig(),
		"tokenizer.json":         vocabulary.document(),
		"tokenizer_config.json":  tokenizerConfig(),
	}
	if len(p.shards) > 1 {
		docs["model.safetensors.index.json"] = p.index()
	}
	for name, doc := range docs {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(doc); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// config returns config.json, with the keys of a Llama.
func (p *plan) config() map[string]any {
	q, kv := p.heads()
	doc := map[string]any{
		"architectures":           []string{"LlamaForCausalLM"},
		"attention_bias":          false,
		"attention_dropout":       0.0,
		"bos_token_id":            1,
		"eos_token_id":            2,
		"head_dim":                p.hidden / q,
		"hidden_act":              "silu",
		"hidden_size":             p.hidden,
		"initializer_range":       0.02,
		"intermediate_size":       p.intermediate(),
		"max_position_embeddings": 8192,
		"mlp_bias":                false,
		"model_type":              "llama",
		"num_attention_heads":     q,
		"num_hidden_layers":       p.layers,
		"num_key_value_heads":     kv,
		"rms_norm_eps":            1e-05,
		"rope_theta":              500000.0,
		"tie_word_embeddings":     p.tied,
		"torch_dtype":             p.dtype.torch(),
		"transformers_version":    "4.46.0",
		"use_cache":               true,
		"vocab_size":              p.vocab,
	}
	if q := p.dtype.quantization(); q != nil {
		doc["quantization_config"] = q
	}
	return doc
}

// torch returns the name that torch gives the format of dense tensors.
func (d Dtype) torch() string {
	switch d {
	case DtypeF32:
		return "float32"
	case DtypeF16:
		return "float16"
	}
	return "bfloat16"
}

// quantization returns the quantization_config of d, or nil.
func (d Dtype) quantization() map[string]any {
	dense := []string{"lm_head", "model.embed_tokens"}
	switch d {
	case DtypeFP8:
		return map[string]any{
			"quant_method": "compressed-tensors",
			"format":       "float-quantized",
			"ignore":       dense,
			"config_groups": map[string]any{"group_0": map[string]any{
				"targets": []string{"Linear"},
				"weights": map[string]any{"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true},
			}},
		}
	case DtypeMXFP4:
		return map[string]any{"quant_method": "mxfp4", "modules_to_not_convert": dense}
	case DtypeNVFP4:
		return map[string]any{"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, "ignore": dense}
	}
	return nil
}

func generationConfig() map[string]any {
	return map[string]any{
		"bos_token_id":         1,
		"do_sample":            true,
		"eos_token_id":         2,
		"temperature":          0.6,
		"top_p":                0.9,
		"transformers_version": "4.46.0",
	}
}

// index returns model.safetensors.index.json: the file of every tensor.
func (p *plan) index() map[string]any {
	files := make(map[string]string)
	for _, s := range p.shards {
		for _, t := range s.tensors {
			files[t.name] = s.name
		}
	}
	return map[string]any{
		"metadata":   map[string]any{"total_parameters": p.parameters(), "total_size": p.size()},
		"weight_map": files,
	}
}
