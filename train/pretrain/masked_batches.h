#pragma once

// Samples of masked language models from token shards.

#include <memory>
#include <string>

#include "data/loader/masking.h"
#include "data/loader/token_loader.h"
#include "data/tokenizer/tokenizer.h"
#include "train/batch_source.h"
#include "train/pretrain/config.h"

namespace plinth {

// How sequences are masked for a model of so many ids. A negative mask_token is the tokenizer's
// [MASK]; its [CLS] and [SEP], if it has them, stand around each sequence, and its special tokens
// are never predicted. Throws Error(Config) naming masking.token where that is missing, or outside
// the vocabulary.
MaskingOptions masking_options(const Tokenizer* tokenizer, int64_t vocab_size, int64_t mask_token);

// The same as a run's configuration says it. Throws Error(Config) also for whole words without a
// WordPiece tokenizer.
MaskingOptions masking_options(const PretrainConfig& config, const Tokenizer* tokenizer,
                               int64_t vocab_size);

// Micro-batches {ids, targets}, int64 [rows, length]: targets are the ids of the tokens that are to
// be predicted, and -100.
class MaskedBatches : public BatchSource {
 public:
  // Of `length` tokens, what the masker adds among them. Else as TokenBatches.
  MaskedBatches(std::shared_ptr<const TokenDataset> data, LoaderOptions options, TokenMasker masker,
                int64_t length);

  Batch next(int64_t count) override;
  std::string state() const override { return to_json(loader_.position()); }
  void restore(std::string_view state) override { loader_.restore(parse_loader_position(state)); }

 private:
  int64_t rows_, length_;
  TokenMasker masker_;
  TokenLoader loader_;
};

}  // namespace plinth
