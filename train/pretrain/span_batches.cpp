#include "train/pretrain/span_batches.h"

#include <algorithm>
#include <span>

#include "core/error.h"

namespace plinth {

SpanBatches::SpanBatches(std::shared_ptr<const TokenDataset> data, const LoaderOptions& options,
                         const SpanCorruptor& corruptor)
    : rows_(options.rows), corruptor_(corruptor), loader_(std::move(data), options) {}

Batch SpanBatches::next(int64_t count) {
  check(count == rows_, ErrorKind::Argument, "SpanBatches", "next got ", count, " samples, gives ",
        rows_);
  const TokenBatch batch = loader_.next();
  const auto rows = [&](int64_t length) {
    return Tensor::empty({rows_, length}, {DType::Int64, {}});
  };
  const Tensor ids = rows(corruptor_.ids_length(batch.length));
  const Tensor targets = rows(corruptor_.targets_length(batch.length));
  const std::span<const int64_t> tokens = batch.inputs;
  for (int64_t row = 0; row < rows_; ++row) {
    const SpanSample sample = corruptor_.corrupt(
        batch.first_sample + row,
        tokens.subspan(static_cast<size_t>(row * batch.length), static_cast<size_t>(batch.length)));
    std::ranges::copy(sample.ids, ids.data<int64_t>() + row * ids.size(1));
    std::ranges::copy(sample.targets, targets.data<int64_t>() + row * targets.size(1));
  }
  return {ids, targets};
}

}  // namespace plinth
