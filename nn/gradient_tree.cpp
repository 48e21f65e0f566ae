#include "nn/gradient_tree.h"

#include <utility>

#include "core/autograd.h"

namespace plinth::nn {

Tensors GradientTree::merge(size_t level, Tensors sum) {
  const NoGradGuard no_grad;
  Tensors left = *std::exchange(waiting_[level], std::nullopt);
  for (size_t i = 0; i < left.size(); ++i) left[i].add_(sum[i]);
  spare_.push_back(std::move(sum));
  return left;
}

Tensors GradientTree::take_spare() {
  if (spare_.empty()) return gradients_.make_buffers();
  Tensors buffers = std::move(spare_.back());
  spare_.pop_back();
  return buffers;
}

void GradientTree::next() {
  Tensors sum = gradients_.buffers();
  size_t level = 0;
  for (; level < waiting_.size() && waiting_[level]; ++level) sum = merge(level, std::move(sum));
  if (level == waiting_.size()) waiting_.emplace_back();
  waiting_[level] = std::move(sum);
  gradients_.exchange(take_spare());
  gradients_.zero();
}

void GradientTree::clear() {
  for (std::optional<Tensors>& sum : waiting_) {
    if (sum) spare_.push_back(*std::exchange(sum, std::nullopt));
  }
}

void GradientTree::finish() {
  Tensors sum = gradients_.buffers();
  for (size_t level = 0; level < waiting_.size(); ++level) {
    if (waiting_[level]) sum = merge(level, std::move(sum));
  }
  gradients_.exchange(std::move(sum));
}

}  // namespace plinth::nn
