#pragma once

#include "data/loader/token_loader.h"
#include "train/batch_source.h"

namespace plinth {

// Micro-batches {ids, targets}, int64 [rows, length], from token shards.
class TokenBatches : public BatchSource {
 public:
  // options.rows is the micro-batch; options.micro_batches is how many make a step.
  TokenBatches(std::shared_ptr<const TokenDataset> data, const LoaderOptions& options)
      : rows_(options.rows), loader_(std::move(data), options) {}

  // Throws Error(Argument) for another count than options.rows.
  Batch next(int64_t count) override;
  std::string state() const override { return to_json(loader_.position()); }
  void restore(std::string_view state) override { loader_.restore(parse_loader_position(state)); }

  const TokenLoader& loader() const { return loader_; }

 private:
  int64_t rows_;
  TokenLoader loader_;
};

}  // namespace plinth
