#pragma once

// Language models as GGUF files, which llama.cpp and what builds on it run: GPT-2 and Llama, named
// and laid out as llama.cpp's own conversion has them.

#include <filesystem>
#include <memory>
#include <vector>

#include "core/io/gguf.h"
#include "models/language_model.h"

namespace plinth {

// Writes the model. `fields`, the tokenizer's say, follow those of its settings, and replace them.
// Matrices take `type`, but for embeddings of positions, which stay float32, as do vectors; Q8_0
// becomes F16 where rows are no multiple of 32. Throws Error(Argument) for a model that is no GPT-2
// or Llama, or that GGUF's architecture does not compute, and for Q4_0.
void save_gguf(const LanguageModel& model, std::span<const GgufField> fields, GgmlType type,
               const std::filesystem::path& path);

// The model of a file, in float32. Throws Error(Format) naming file and field or tensor for what
// config_of_gguf() refuses, for a tensor that is missing, has another shape or belongs to none of
// the model's, or has a type that is not one of GgmlType's, and for rotary frequencies that are
// stretched in another way than Llama 3's.
std::unique_ptr<LanguageModel> load_gguf(const GgufFile& file);

}  // namespace plinth
