#pragma once

// The settings of a model as the fields of a GGUF file have them (ggml's docs/gguf.md), to and from
// those of config.json. Architectures: "gpt2" and "llama".

#include <optional>
#include <string>
#include <vector>

#include "core/io/gguf.h"
#include "models/gpt2/config.h"
#include "models/llama/config.h"

namespace plinth {

// The text of a config.json that says what the fields say. `scaling` is what the caller made of the
// file's tensor of rotary frequencies, if it has one. Throws Error(Format) naming file and field
// for another architecture, for what is missing or malformed, and for what Plinth does not compute:
// experts, heads that are rotated in part, other stretched positions than linear ones.
std::string config_of_gguf(const GgufFile& file, const std::optional<RopeScaling>& scaling);

// The fields of a model, beginning with general.architecture. Throws Error(Argument) for what a
// GGUF's architecture does not compute: GPT-2 with the exact GELU, a Llama with experts.
std::vector<GgufField> gguf_fields(const Gpt2Config& config);
std::vector<GgufField> gguf_fields(const LlamaConfig& config);

// The tensor of factors by which a Llama's rotary frequencies are divided, [head_dim / 2].
inline constexpr std::string_view kGgufRopeFactors = "rope_freqs.weight";
// Over how many positions a Llama was trained before its frequencies were stretched; Llama 3's.
inline constexpr std::string_view kGgufOriginalContext =
    "llama.rope.scaling.original_context_length";
inline constexpr int64_t kLlama3OriginalContext = 8192;

}  // namespace plinth
