#pragma once

// Samples of span corruption from token shards.

#include <memory>
#include <string>

#include "data/loader/span_corruption.h"
#include "data/loader/token_loader.h"
#include "train/batch_source.h"

namespace plinth {

// Micro-batches {ids, targets}, int64 [rows, some] each: texts of options.samples.length tokens
// with sentinels in place of the spans that they lost, and these spans. All have the same lengths.
class SpanBatches : public BatchSource {
 public:
  // Throws what TokenLoader does.
  SpanBatches(std::shared_ptr<const TokenDataset> data, const LoaderOptions& options,
              const SpanCorruptor& corruptor);

  // Throws Error(Argument) for another count than options.rows, and what corrupt() does.
  Batch next(int64_t count) override;
  std::string state() const override { return to_json(loader_.position()); }
  void restore(std::string_view state) override { loader_.restore(parse_loader_position(state)); }

 private:
  int64_t rows_;
  SpanCorruptor corruptor_;
  TokenLoader loader_;
};

}  // namespace plinth
