#pragma once

// What all runs of pretraining have in common, whatever they train.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "data/loader/token_loader.h"
#include "data/shards/token_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "train/pretrain/config.h"
#include "train/trainer.h"

namespace plinth {

// Of ranks that have micro-batches of their own; sequences have `length` tokens.
LoaderOptions loader_options(const PretrainConfig& config, int64_t length, int64_t rank,
                             int64_t ranks);

// What the configuration alone says of a run that trains a model of this family.
TrainerOptions run_options(const PretrainConfig& config, const ConfigSchema& schema,
                           std::string_view type, int64_t parameters, bool resume);

// The sizes of a new model: where the configuration names no vocabulary, the tokenizer's, rounded
// up.
ModelSize new_size(const PretrainConfig& config, const Tokenizer* tokenizer);

struct TokenData {
  const TokenDataset& train;
  const TokenDataset* validation;  // null: none, as the tokenizer
  const Tokenizer* tokenizer;
};
// Every token must be a row of the embedding: better told now, naming the file, than in some step.
// Data sets that take long to read are left to the embedding, which checks each batch. Throws
// Error(Format), Error(Config) for a tokenizer with more tokens.
void check_vocabulary(const TokenData& data, int64_t vocab_size);

// The last run of the trainer, whose TrainingDiverged also names the last good checkpoint.
TrainResult run_trainer(const PretrainConfig& config, Trainer& trainer);

// A tokenizer's files, for beside a checkpoint's weights.
std::map<std::string, std::string> tokenizer_texts(const PretrainConfig& config,
                                                   const Tokenizer& tokenizer);

}  // namespace plinth
