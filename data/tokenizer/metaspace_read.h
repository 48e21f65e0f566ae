#pragma once

// The parts of tokenizer.json that came from SentencePiece. Whoever includes this includes
// <nlohmann/json.hpp> in its source file.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {

// Whether a tokenizer.json's model is a unigram model, or byte pairs over characters.
bool is_metaspace(const nlohmann::json& json, std::string_view name);

// The vocabulary of a unigram model.
void read_unigram(const nlohmann::json& model, TokenizerSpec& spec, std::string_view name);

// All but vocabulary, merges, added tokens and post-processor, which the spec has. Throws
// Error(Format, name) for what Plinth would not do the same.
void read_metaspace(const nlohmann::json& json, TokenizerSpec& spec, std::string_view name);

// The byte that a piece "<0x0A>" stands for.
std::optional<uint8_t> byte_of_piece(std::string_view piece);

}  // namespace plinth
