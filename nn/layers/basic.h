#pragma once

// Layers without parameters, and layers one after the other.

#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

// Gives x itself.
class Identity final : public Layer {
 public:
  Tensor forward(const Tensor& x) override { return x; }
};

// Dropout (Srivastava et al. 2014) in training, x itself in evaluation: core/ops/dropout.h.
class Dropout final : public Layer {
 public:
  // Throws Error(Argument) unless 0 <= p <= 1.
  explicit Dropout(double p);
  Tensor forward(const Tensor& x) override;
  double p() const { return p_; }
  // x has this part of a sequence, and gets that part of the whole's mask.
  void share(const SequencePart& part) { part_ = part; }

 private:
  double p_;
  SequencePart part_;
};

// Calls its layers in order; they are named "0", "1", ...
class Sequential final : public Layer {
 public:
  Sequential() = default;
  explicit Sequential(const std::vector<std::shared_ptr<Layer>>& layers);

  Sequential& append(std::shared_ptr<Layer> layer);
  Tensor forward(const Tensor& x) override;
  int64_t size() const { return static_cast<int64_t>(layers_.size()); }
  Layer& operator[](int64_t i) const { return *layers_.at(static_cast<size_t>(i)); }
  using Layer::operator();

 private:
  std::vector<std::shared_ptr<Layer>> layers_;
};

}  // namespace plinth::nn
