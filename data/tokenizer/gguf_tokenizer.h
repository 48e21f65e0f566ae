#pragma once

// Tokenizers as the fields "tokenizer.ggml.*" of GGUF files (ggml's docs/gguf.md): "gpt2", which is
// byte-level pairs under the name of a pattern, and "llama", which is SentencePiece's byte pairs
// with scores, the better pair first.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/io/gguf.h"
#include "data/tokenizer/tokenizer.h"

namespace plinth {

// What the fields of a tokenizer begin with.
inline constexpr std::string_view kGgufTokenizer = "tokenizer.";

// The fields, for a model of `vocab_size` tokens; ids without a token, up to that, are named
// "[PAD7]". Throws Error(Argument) for more tokens, and for a tokenizer that GGUF's words do not
// describe: other kinds than byte pairs, other patterns than GPT-2's and Llama 3's, and of pieces
// other steps than those that mark spaces.
std::vector<GgufField> gguf_fields(const Tokenizer& tokenizer, int64_t vocab_size);

// tokenizer.json and tokenizer_config.json, by name, that do what the fields say. The merges of a
// "llama" are all pairs of tokens that make a third, in the order of its score; as SentencePiece
// has it, a space comes before a text that begins with one, too. Throws Error(Format) naming file
// and field for a kind of tokenizer, or a pattern of it, that Plinth does not know by name.
std::map<std::string, std::string> gguf_tokenizer_files(const GgufFile& file);

}  // namespace plinth
