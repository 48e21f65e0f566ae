#pragma once

// Text to text, such as translation, by an encoder-decoder of text (T5; Raffel et al. 2020, arXiv
// 1910.10683).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "models/config_json.h"
#include "train/finetune/tasks.h"

namespace plinth {

// Whether it is that of an encoder-decoder of text.
bool is_sequence_model(const ConfigJson& config);

// What make_task() and load_task() do for pairs of texts: text_column holds what is read,
// label_column what is to be written. A directory with a config.json and a tokenizer alone gives a
// T5 with random weights. Both texts are cut, at task.max_length and task.target_length tokens, and
// end with the end token. Outputs are the ids that a search by task.beams gives, and are scored by
// BLEU, chrF and ROUGE. Throws Error(Config) for another model, and for a tokenizer that has more
// tokens than the model or no end token.
std::unique_ptr<FinetuneTask> make_sequence_task(
    const TaskSettings& settings, const std::filesystem::path& directory, uint64_t seed,
    const std::function<void(const std::string&)>& tell);
std::unique_ptr<FinetuneTask> load_sequence_task(const TaskSettings& settings,
                                                 const std::filesystem::path& directory);

}  // namespace plinth
