#pragma once

// GPT-2 as llm.c's checkpoints: see llmc_file.h.

#include <filesystem>
#include <memory>

#include "models/formats/llmc_file.h"
#include "models/language_model.h"

namespace plinth {

// Throws Error(Argument) for a model that is no GPT-2, and for what LlmcHeader::of() refuses.
void save_llmc(const LanguageModel& model, DType dtype, const std::filesystem::path& path);

// In float32.
std::unique_ptr<LanguageModel> load_llmc(const LlmcFile& file);

}  // namespace plinth
