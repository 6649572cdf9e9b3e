package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// maxTokens bounds the vocabulary of tokenizer.json, which then takes some
// 600 kB. A larger model has unused rows in its embedding, as many have.
const maxTokens = 8192

var specialTokens = []string{"<unk>", "<s>", "</s>"}

// A vocabulary is a byte-pair encoding: its tokens by id, and the merges that
// made those which are not given.
type vocabulary struct {
	tokens tokenList
	merges [][2]string
}

// A tokenList encodes as an object that maps each token to its id, in order.
type tokenList []string

// MarshalJSON implements [json.Marshaler].
func (l tokenList) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for id, token := range l {
		name, err := json.Marshal(token)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ",%s:%d", name, id)
	}
	b.WriteByte('}')
	doc := b.Bytes()
	doc[0] = '{'
	return doc, nil
}

// newVocabulary makes up n tokens, or those it always has where n is less. It
// joins two tokens at random, more often frequent ones, as training would.
func newVocabulary(n int, seed uint64) *vocabulary {
	v := &vocabulary{tokens: append(tokenList{}, specialTokens...)}
	for c := '!'; c <= '~'; c++ {
		v.tokens = append(v.tokens, string(c))
	}
	v.tokens = append(v.tokens, "Ġ")
	for c := 'a'; c <= 'z'; c++ {
		v.merge("Ġ", string(c))
	}
	letters := []string{"e", "t", "a", "o", "i", "n", "s", "r", "h", "l", "d", "c", "u", "m"}
	known := make(map[string]bool)
	for _, t := range v.tokens {
		known[t] = true
	}
	rng := rand.New(rand.NewPCG(mix(seed), 1))
	pick := func() string {
		if rng.IntN(2) == 0 {
			return letters[rng.IntN(len(letters))]
		}
		first := len(specialTokens) + '~' - '!' + 1
		return v.tokens[first+rng.IntN(len(v.tokens)-first)]
	}
	for len(v.tokens) < n {
		a, b := pick(), pick()
		if len(a)+len(b) > 14 || b[0] > '~' || known[a+b] {
			continue
		}
		v.merge(a, b)
		known[a+b] = true
	}
	return v
}

func (v *vocabulary) merge(a, b string) {
	v.tokens = append(v.tokens, a+b)
	v.merges = append(v.merges, [2]string{a, b})
}

// document returns tokenizer.json as the tokenizers library writes it.
func (v *vocabulary) document() any {
	type added struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	var special []added
	for id, token := range specialTokens {
		special = append(special, added{ID: id, Content: token, Special: true})
	}
	byteLevel := map[string]any{
		"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
	}
	return map[string]any{
		"version":        "1.0",
		"truncation":     nil,
		"padding":        nil,
		"added_tokens":   special,
		"normalizer":     nil,
		"pre_tokenizer":  byteLevel,
		"post_processor": nil,
		"decoder":        byteLevel,
		"model": map[string]any{
			"type":                      "BPE",
			"dropout":                   nil,
			"unk_token":                 specialTokens[0],
			"continuing_subword_prefix": nil,
			"end_of_word_suffix":        nil,
			"fuse_unk":                  false,
			"byte_fallback":             false,
			"ignore_merges":             false,
			"vocab":                     v.tokens,
			"merges":                    v.merges,
		},
	}
}

func tokenizerConfig() map[string]any {
	return map[string]any{
		"add_bos_token":                true,
		"add_eos_token":                false,
		"bos_token":                    "<s>",
		"clean_up_tokenization_spaces": false,
		"eos_token":                    "</s>",
		"model_max_length":             8192,
		"pad_token":                    nil,
		"tokenizer_class":              "PreTrainedTokenizerFast",
		"unk_token":                    "<unk>",
	}
}
