#include "train/pretrain/token_batches.h"

#include "core/error.h"

namespace plinth {

namespace {

// The vector's own memory as a tensor.
Tensor take(std::vector<int64_t>&& values, int64_t rows, int64_t length) {
  const auto owner = std::make_shared<std::vector<int64_t>>(std::move(values));
  auto storage = std::make_shared<Storage>(owner->data(), owner->size() * sizeof(int64_t), Device{},
                                           [owner] {});
  return Tensor::from_storage(std::move(storage), {rows, length}, {length, 1}, 0, DType::Int64);
}

}  // namespace

Batch TokenBatches::next(int64_t count) {
  check(count == rows_, ErrorKind::Argument, "TokenBatches", "next got ", count, " samples, gives ",
        rows_);
  TokenBatch batch = loader_.next();
  return {take(std::move(batch.inputs), batch.rows, batch.length),
          take(std::move(batch.targets), batch.rows, batch.length)};
}

}  // namespace plinth
