#pragma once

// Samples of BERT's two objectives, masked tokens and next sentences, from token shards.

#include <memory>
#include <string>

#include "data/loader/masking.h"
#include "data/loader/sentence_pairs.h"
#include "data/loader/token_loader.h"
#include "train/batch_source.h"

namespace plinth {

// Micro-batches {ids, segments, targets, labels}, int64 [rows, length] and [rows]: [CLS] A [SEP] B
// [SEP], of which A and what stands around it is segment 0, B and its end segment 1; targets are
// the ids of the tokens that are to be predicted, and -100; labels are 0 where B follows A, else 1.
class SentenceBatches : public BatchSource {
 public:
  // The masker's `first` and `last` are [CLS] and [SEP]. Throws Error(Config) where a length leaves
  // no room for two texts, Error(Argument) without these tokens, and what TokenLoader does.
  SentenceBatches(const std::shared_ptr<const TokenDataset>& data, LoaderOptions options,
                  const MaskingOptions& masking, int64_t length);

  // Throws Error(Argument) for another count than options.rows.
  Batch next(int64_t count) override;
  std::string state() const override { return to_json(loader_.position()); }
  void restore(std::string_view state) override { loader_.restore(parse_loader_position(state)); }

 private:
  int64_t rows_, length_, separator_;
  TokenMasker masker_;
  SentencePairs pairs_;
  TokenLoader loader_;
};

}  // namespace plinth
