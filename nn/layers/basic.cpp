#include "nn/layers/basic.h"

#include "core/error.h"
#include "core/ops/dropout.h"

namespace plinth::nn {

Dropout::Dropout(double p) : p_(p) {
  check(p >= 0 && p <= 1, ErrorKind::Argument, "Dropout", "p is ", p, ", expected between 0 and 1");
}

Tensor Dropout::forward(const Tensor& x) {
  return is_training() && p_ > 0 ? dropout(x, p_, part_.dropout_part(x)) : x;
}

Sequential::Sequential(const std::vector<std::shared_ptr<Layer>>& layers) {
  for (const auto& layer : layers) append(layer);
}

Sequential& Sequential::append(std::shared_ptr<Layer> layer) {
  layers_.push_back(register_module(std::to_string(layers_.size()), std::move(layer)));
  return *this;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const auto& layer : layers_) y = (*layer)(y);
  return y;
}

}  // namespace plinth::nn
