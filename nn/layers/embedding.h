#pragma once

#include "nn/module.h"

namespace plinth::nn {

// A table of vectors: rows of weight [count, dim] for int64 ids of any shape, [..., dim].
class Embedding final : public Layer {
 public:
  // Drawn from `initializer`.
  Embedding(int64_t count, int64_t dim, Initializer initializer = init::normal(0, 1),
            TensorOptions options = {});

  // ids [...] -> [..., dim]. Throws Error(Argument) naming the first id out of range.
  Tensor forward(const Tensor& ids) override;
  // The table as an output head that shares its weights (Press & Wolf 2017, arXiv 1608.05859):
  // x [..., dim] -> x weight^T [..., count].
  Tensor logits(const Tensor& x) const;

  const Tensor& weight() const { return weight_; }

 private:
  Tensor weight_;
};

}  // namespace plinth::nn
