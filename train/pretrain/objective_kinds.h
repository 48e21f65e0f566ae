#pragma once

// Each objective by its own name; objectives.h chooses.

#include <functional>
#include <memory>
#include <string>

#include "train/pretrain/config.h"
#include "train/pretrain/objective.h"

namespace plinth {

// T5 by span corruption (data/loader/span_corruption.h). The tokenizer has sentinels.
std::unique_ptr<Objective> make_span_objective(const PretrainConfig& config,
                                               const std::function<void(const std::string&)>& tell);

// BERT by masked tokens and next sentences (data/loader/sentence_pairs.h).
std::unique_ptr<Objective> make_sentence_objective(
    const PretrainConfig& config, const std::function<void(const std::string&)>& tell);

// The masked autoencoder by images, of folders or of tables with data.image_column.
std::unique_ptr<Objective> make_mae_objective(const PretrainConfig& config,
                                              const std::function<void(const std::string&)>& tell);

// CLIP by images and their texts, of tables with data.image_column and data.text_column. The pairs
// of a micro-batch are told apart.
std::unique_ptr<Objective> make_pair_objective(const PretrainConfig& config,
                                               const std::function<void(const std::string&)>& tell);

}  // namespace plinth
