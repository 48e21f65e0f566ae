#include "distributed/tensor/shards.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "nn/clip.h"

namespace plinth::distributed {
namespace {

int64_t count_of(const std::vector<ShardRange>& ranges) {
  int64_t count = 0;
  for (const ShardRange& range : ranges) count += range.count;
  return count;
}

bool has(const std::vector<ShardRange>& ranges, const ShardRange& range) {
  return std::ranges::any_of(ranges, [&](const ShardRange& other) {
    return other.begin == range.begin && other.count == range.count;
  });
}

}  // namespace

Tensor ParameterParts::part_of(const std::string& name, const Tensor& whole,
                               const ParameterCut& cut) const {
  check(cut.dim < whole.dim() && whole.size(cut.dim) == cut.size, ErrorKind::Shape,
        "ParameterParts", name, " has shape ", whole.shape(), ", expected ", cut.size,
        " in dimension ", cut.dim);
  Tensors pieces;
  for (const ShardRange& range : cut.ranges[group_->rank()])
    pieces.push_back(whole.narrow(cut.dim, range.begin, range.count));
  return cat(pieces, cut.dim);
}

void ParameterParts::cut(const std::string& name, const Tensor& parameter, ParameterCut cut) {
  const NoGradGuard no_grad;
  check(std::ssize(cut.ranges) == group_->size(), ErrorKind::Argument, "ParameterParts", name,
        " is cut for ", cut.ranges.size(), " ranks, expected ", group_->size());
  const Tensor part = part_of(name, parameter.detach(), cut);
  Tensor(parameter).set_data(part);
  entries_.insert_or_assign(name, Entry{parameter, std::move(cut)});
}

// By the parameter's own name, or by what follows the name of a state.
const ParameterCut* ParameterParts::find(const std::string& state) const {
  auto found = entries_.find(state);
  const size_t dot = state.find('.');
  if (found == entries_.end() && dot != std::string::npos)
    found = entries_.find(std::string_view(state).substr(dot + 1));
  return found == entries_.end() ? nullptr : &found->second.cut;
}

// Each rank's part as rows of `dim`, padded to those of the largest.
Tensor ParameterParts::gather(const Tensor& part, const ParameterCut& cut) const {
  int64_t most = 0;
  for (const auto& ranges : cut.ranges) most = std::max(most, count_of(ranges));
  const Tensor front = part.detach().transpose(0, cut.dim).contiguous();
  Shape shape = front.shape();
  shape[0] = most;
  const Tensor in = zeros(shape, front.options());
  in.narrow(0, 0, front.size(0)).copy_(front);
  shape[0] = most * group_->size();
  const Tensor out = Tensor::empty(shape, front.options());
  group_->all_gather(out, in).wait();
  if (group_->rank() != 0) return {};

  shape[0] = cut.size;
  const Tensor whole = Tensor::empty(shape, {part.dtype(), {}});
  for (int rank = 0; rank < group_->size(); ++rank) {
    int64_t at = rank * most;
    for (const ShardRange& range : cut.ranges[rank]) {
      whole.narrow(0, range.begin, range.count).copy_(out.narrow(0, at, range.count));
      at += range.count;
    }
  }
  return whole.transpose(0, cut.dim).contiguous();
}

nn::StateDict ParameterParts::whole(const nn::StateDict& parts) const {
  const NoGradGuard no_grad;
  nn::StateDict whole;
  for (const auto& [name, tensor] : parts) {
    const ParameterCut* cut = find(name);
    if (cut) {
      check(
          cut->dim < tensor.dim() && tensor.size(cut->dim) == count_of(cut->ranges[group_->rank()]),
          ErrorKind::Shape, "ParameterParts", name, " has shape ", tensor.shape(),
          ", which is not this rank's part");
    }
    const Tensor value = cut ? gather(tensor, *cut) : tensor;
    if (group_->rank() == 0) whole.push_back({name, value});
  }
  return whole;
}

nn::StateDict ParameterParts::room(const nn::StateDict& parts) const {
  nn::StateDict room;
  for (const auto& [name, tensor] : parts) {
    Shape shape = tensor.shape();
    if (const ParameterCut* cut = find(name)) shape[cut->dim] = cut->size;
    room.push_back({name, Tensor::empty(shape, {tensor.dtype(), {}})});
  }
  return room;
}

nn::StateDict ParameterParts::parts(const nn::StateDict& whole) const {
  const NoGradGuard no_grad;
  nn::StateDict parts;
  for (const auto& [name, tensor] : whole) {
    const ParameterCut* cut = find(name);
    parts.push_back({name, cut ? part_of(name, tensor, *cut) : tensor});
  }
  return parts;
}

std::vector<ShardRange> ParameterParts::own_elements(const Tensor& parameter) const {
  const auto entry = std::ranges::find_if(
      entries_, [&](const auto& item) { return item.second.parameter.is(parameter); });
  if (entry == entries_.end())
    return group_->rank() == 0 ? std::vector<ShardRange>{{0, parameter.numel()}}
                               : std::vector<ShardRange>{};
  const ParameterCut& cut = entry->second.cut;
  if (cut.dim > 0) return {{0, parameter.numel()}};
  const int64_t row = parameter.numel() / parameter.size(0);
  std::vector<ShardRange> own;
  int64_t at = 0;
  for (const ShardRange& range : cut.ranges[group_->rank()]) {
    const auto before = std::span(cut.ranges).first(group_->rank());
    if (std::ranges::none_of(before, [&](const auto& ranges) { return has(ranges, range); }))
      own.push_back({at * row, range.count * row});
    at += range.count;
  }
  return own;
}

double ParameterParts::grad_norm(const nn::FlatGradients& gradients,
                                 const std::vector<DataParallel::Range>* slices,
                                 ProcessGroup* data) const {
  const OpScope scope("grad_norm");
  const NoGradGuard no_grad;
  Tensors own;
  for (size_t p = 0; p < gradients.parameters().size(); ++p) {
    const auto& place = gradients.layout().places()[p];
    const Tensor& buffer = gradients.buffers()[place.buffer];
    for (const ShardRange& range : own_elements(gradients.parameters()[p])) {
      const int64_t begin = place.offset + range.begin, end = begin + range.count;
      if (!slices) own.push_back(buffer.narrow(0, begin, range.count));
      for (const DataParallel::Range& slice :
           slices ? *slices : std::vector<DataParallel::Range>{}) {
        const int64_t from = std::max(begin, slice.begin);
        const int64_t to = std::min(end, slice.begin + slice.size);
        if (slice.buffer == place.buffer && from < to)
          own.push_back(buffer.narrow(0, from, to - from));
      }
    }
  }
  const Tensor squares = own.empty() ? zeros({4}, {DType::Float64, gradients.buffers()[0].device()})
                                     : nn::sums_of_squares(own);
  if (slices && data) data->all_reduce(squares).wait();
  group_->all_reduce(squares).wait();
  const std::vector<double> sums = to_vector(squares);
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace plinth::distributed
