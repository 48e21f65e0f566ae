#include "distributed/tensor/shards.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "nn/absent.h"
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

void check_fits(const std::string& name, const Shape& whole, const ParameterCut& cut) {
  check(cut.dim < whole.dim() && whole[cut.dim] == cut.size, ErrorKind::Shape, "ParameterParts",
        name, " has shape ", whole, ", expected ", cut.size, " in dimension ", cut.dim);
}

}  // namespace

Tensor ParameterParts::part_of(const std::string& name, const Tensor& whole,
                               const ParameterCut& cut) const {
  check_fits(name, whole.shape(), cut);
  Tensors pieces;
  for (const ShardRange& range : cut.ranges[group_->rank()])
    pieces.push_back(whole.narrow(cut.dim, range.begin, range.count));
  return cat(pieces, cut.dim);
}

void ParameterParts::cut(const std::string& name, const Tensor& parameter, ParameterCut cut) {
  const NoGradGuard no_grad;
  check(std::ssize(cut.ranges) == group_->size(), ErrorKind::Argument, "ParameterParts", name,
        " is cut for ", cut.ranges.size(), " ranks, expected ", group_->size());
  if (nn::is_absent(parameter)) {
    Shape shape = parameter.shape();
    check_fits(name, shape, cut);
    shape[cut.dim] = count_of(cut.ranges[group_->rank()]);
    Tensor(parameter).set_data(nn::absent(shape, parameter.options()));
  } else {
    Tensor(parameter).set_data(part_of(name, parameter.detach(), cut));
  }
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
  group_->raise_if_failed();
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

Shape ParameterParts::whole_shape(const std::string& name, const Shape& part) const {
  Shape shape = part;
  if (const ParameterCut* cut = find(name)) shape[cut->dim] = cut->size;
  return shape;
}

// Of a parameter that is cut behind its first dimension all ranks have something else.
std::vector<ShardRange> ParameterParts::own_elements(const std::string& name, int64_t size) const {
  const ParameterCut* const cut = find(name);
  if (!cut)
    return group_->rank() == 0 ? std::vector<ShardRange>{{0, size}} : std::vector<ShardRange>{};
  if (cut->dim > 0) return {{0, size}};
  const auto& ranges = cut->ranges[group_->rank()];
  const int64_t count = count_of(ranges);
  if (count == 0) return {};
  const int64_t row = size / count;
  std::vector<ShardRange> own;
  int64_t at = 0;
  for (const ShardRange& range : ranges) {
    const auto before = std::span(cut->ranges).first(group_->rank());
    if (std::ranges::none_of(before, [&](const auto& theirs) { return has(theirs, range); }))
      own.push_back({at * row, range.count * row});
    at += range.count;
  }
  return own;
}

std::vector<ElementRows> ParameterParts::rows_of(const std::string& name, const Shape& part,
                                                 int64_t begin, int64_t count) const {
  const ParameterCut* const cut = find(name);
  if (!cut) return {{begin, 1, count, count}};
  int64_t inner = 1, outer = 1;  // elements behind the dimension, and before it
  for (int64_t d = cut->dim + 1; d < part.dim(); ++d) inner *= part[d];
  for (int64_t d = 0; d < cut->dim; ++d) outer *= part[d];
  const int64_t own_row = part[cut->dim] * inner, whole_row = cut->size * inner;
  std::vector<ElementRows> found;
  const int64_t end = begin + count;
  for (int64_t row = begin / own_row; row < outer && row * own_row < end; ++row) {
    int64_t at = row * own_row;
    for (const ShardRange& range : cut->ranges[group_->rank()]) {
      const int64_t from = std::max(begin, at), to = std::min(end, at + range.count * inner);
      const int64_t place = row * whole_row + range.begin * inner + from - at;
      at += range.count * inner;
      if (from >= to) continue;
      ElementRows* const last = found.empty() ? nullptr : &found.back();
      const bool follows = last && last->count == to - from && outer > 1 &&
                           last->begin + last->rows * whole_row == place;
      if (follows) {
        ++last->rows;
      } else {
        found.push_back({place, 1, to - from, whole_row});
      }
    }
  }
  return found;
}

std::string ParameterParts::name_of(const Tensor& parameter) const {
  for (const auto& [name, entry] : entries_) {
    if (entry.parameter.is(parameter)) return name;
  }
  return {};
}

Tensors ParameterParts::counted(const std::vector<GradientPart>& gradients) const {
  Tensors own;
  for (const GradientPart& part : gradients) {
    const int64_t end = part.begin + part.values.numel();
    for (const ShardRange& range : own_elements(name_of(part.parameter), part.parameter.numel())) {
      const int64_t from = std::max(part.begin, range.begin);
      const int64_t to = std::min(end, range.begin + range.count);
      if (from < to)
        own.push_back(part.values.reshape({-1}).narrow(0, from - part.begin, to - from));
    }
  }
  return own;
}

std::vector<GradientPart> gradient_parts(const nn::FlatGradients& gradients,
                                         const std::vector<DataParallel::Range>* slices) {
  std::vector<GradientPart> parts;
  for (size_t p = 0; p < gradients.parameters().size(); ++p) {
    const auto& place = gradients.layout().places()[p];
    const Tensor& buffer = gradients.buffers()[place.buffer];
    const int64_t end = place.offset + place.shape.numel();
    const auto add = [&](int64_t from, int64_t to) {
      if (from < to)
        parts.push_back(
            {gradients.parameters()[p], from - place.offset, buffer.narrow(0, from, to - from)});
    };
    if (!slices) add(place.offset, end);
    for (const DataParallel::Range& slice : slices ? *slices : std::vector<DataParallel::Range>{}) {
      if (slice.buffer == place.buffer)
        add(std::max(place.offset, slice.begin), std::min(end, slice.begin + slice.size));
    }
  }
  return parts;
}

namespace {

// In the order of ranks: ranks of other groups that have the same parts then have the same sum,
// where a backend's all_reduce may add in an order of its own in each group.
void add_up(const Tensor& own, ProcessGroup& group) {
  const Tensor all = Tensor::empty({group.size(), own.numel()}, own.options());
  group.all_gather(all, own.reshape({1, own.numel()})).wait();
  Tensor(own).copy_(all.select(0, 0));
  for (int rank = 1; rank < group.size(); ++rank) Tensor(own).add_(all.select(0, rank));
}

}  // namespace

double norm_over(const Tensors& tensors, Device device, const std::vector<ProcessGroup*>& groups) {
  const OpScope scope("grad_norm");
  const NoGradGuard no_grad;
  const Tensor squares =
      tensors.empty() ? zeros({4}, {DType::Float64, device}) : nn::sums_of_squares(tensors);
  for (ProcessGroup* group : groups) {
    if (group) add_up(squares, *group);
  }
  const std::vector<double> sums = to_vector(squares);
  for (ProcessGroup* group : groups) {
    if (group) group->raise_if_failed();
  }
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace plinth::distributed
