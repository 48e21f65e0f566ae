#pragma once

#include <vector>

#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

// What a table is where ranks share it. Each map may be empty.
struct EmbeddingShare {
  int64_t first = 0;      // id of row 0 here
  int64_t count = 0;      // ids of all ranks' rows; 0: as many as here
  TensorMap out = {};     // the result, in which ids of other ranks' rows have zeros
  TensorMap weight = {};  // the table as it is used
};

// A table of vectors: rows of weight [count, dim] for int64 ids of any shape, [..., dim].
class Embedding final : public Layer {
 public:
  // Drawn from `initializer`.
  Embedding(int64_t count, int64_t dim, Initializer initializer = init::normal(0, 1),
            TensorOptions options = {});

  // ids [...] -> [..., dim]. Throws Error(Argument) naming the first id out of range.
  Tensor forward(const Tensor& ids) override;
  // Rows of these runs, `before` rows further on: [count, dim].
  Tensor rows(const std::vector<TokenRun>& runs, int64_t before = 0) const;
  // The table as an output head that shares its weights (Press & Wolf 2017, arXiv 1608.05859):
  // x [..., dim] -> x weight^T [..., count].
  Tensor logits(const Tensor& x) const;

  const Tensor& weight() const { return weight_; }
  void share(EmbeddingShare share) { share_ = std::move(share); }

 private:
  Tensor weight_;
  EmbeddingShare share_;
};

}  // namespace plinth::nn
