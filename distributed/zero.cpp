#include "distributed/zero.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "nn/clip.h"

namespace plinth::distributed {

ShardedUpdate::ShardedUpdate(std::shared_ptr<ProcessGroup> group, nn::FlatGradients& gradients,
                             const DataParallel& parallel, nn::Optimizer& optimizer)
    : group_(std::move(group)),
      gradients_(gradients),
      optimizer_(optimizer),
      buckets_(parallel.buckets()) {
  for (const Range& bucket : buckets_) slices_.push_back(parallel.own_slice(bucket));
  const Tensors& parameters = gradients_.parameters();
  for (const auto& [name, tensor] : optimizer_.whole_parameters()) {
    const auto at = std::ranges::find_if(
        parameters, [&, &own = tensor](const Tensor& other) { return other.is(own); });
    check(at != parameters.end(), ErrorKind::Argument, "ShardedUpdate", "parameter ", name,
          " of the optimizer takes no gradient");
    order_.push_back(static_cast<size_t>(at - parameters.begin()));
  }
  parameters_ = nn::flatten_parameters(parameters, gradients_.layout());
  cut_pieces();
  optimizer_.keep_parts([&](const Tensor& parameter) {
    std::vector<nn::Optimizer::Part> parts;
    for (const Piece& piece : pieces_) {
      if (parameters[piece.parameter].is(parameter)) parts.push_back({piece.begin, piece.values});
    }
    return parts;
  });
}

// What this rank's slices have of each parameter.
void ShardedUpdate::cut_pieces() {
  for (size_t p = 0; p < gradients_.parameters().size(); ++p) {
    const auto& place = gradients_.layout().places()[p];
    for (const Range& slice : slices_) {
      const int64_t begin = std::max(slice.begin, place.offset);
      const int64_t end = std::min(slice.begin + slice.size, place.offset + place.shape.numel());
      if (slice.buffer != place.buffer || begin >= end) continue;
      const Tensor& buffer = parameters_[place.buffer];
      Tensor values =
          Tensor::from_storage(buffer.storage(), {end - begin}, {1}, begin, buffer.dtype());
      values.set_requires_grad();
      pieces_.push_back({p, begin - place.offset, {place.buffer, begin, end - begin}, values});
    }
  }
}

void ShardedUpdate::attach_gradients() const {
  for (const Piece& piece : pieces_)
    Tensor(piece.values)
        .set_grad(gradients_.buffers()[piece.range.buffer].narrow(0, piece.range.begin,
                                                                  piece.range.size));
}

// Every rank fills in the chunks that it owns; sums of one number and zeros are exact.
double ShardedUpdate::grad_norm() const {
  const OpScope scope("grad_norm");
  const NoGradGuard no_grad;
  const Tensors contents = gradients_.contents();
  double squares[4] = {};  // by dtype, as nn::global_norm() adds them
  for (size_t b = 0; b < contents.size(); ++b) {
    const int64_t chunk = nn::norm_chunk(contents[b].device()), size = contents[b].numel();
    const Tensor sums = zeros({(size + chunk - 1) / chunk}, {DType::Float64, contents[b].device()});
    for (const Range& slice : slices_) {
      const int64_t count = std::min(slice.size, size - slice.begin);
      if (slice.buffer != b || count <= 0) continue;
      const Tensor own = nn::chunk_sums_of_squares(contents[b].narrow(0, slice.begin, count));
      sums.narrow(0, slice.begin / chunk, own.numel()).copy_(own);
    }
    group_->all_reduce(sums).wait();
    constexpr DType kOrder[] = {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16};
    const auto at = std::ranges::find(kOrder, contents[b].dtype()) - kOrder;
    squares[at] += nn::sum_of_chunks(sums);
  }
  return std::sqrt(squares[0] + squares[1] + squares[2] + squares[3]);
}

void ShardedUpdate::step(double grad_scale) {
  attach_gradients();
  optimizer_.step(grad_scale);
  gather(parameters_);
}

void ShardedUpdate::gather(const Tensors& buffers) const {
  const OpScope scope("gather_parameters", ScopeKind::Phase);
  const NoGradGuard no_grad;
  Work last;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const Range &bucket = buckets_[i], &slice = slices_[i];
    const Tensor& buffer = buffers[bucket.buffer];
    last = group_->all_gather(buffer.narrow(0, bucket.begin, bucket.size),
                              buffer.narrow(0, slice.begin, slice.size).clone());
  }
  last.wait();
}

// ---- state ----

namespace {

constexpr const char* kSteps = "steps";

}  // namespace

// Of each buffer, the state of that name in the places of its parameters.
Tensors ShardedUpdate::gather_state(const nn::StateDict& own, const std::string& name) const {
  Tensors flat;
  flat.reserve(parameters_.size());
  for (const Tensor& buffer : parameters_)
    flat.push_back(zeros({buffer.numel()}, {nn::compute_dtype(buffer.dtype()), buffer.device()}));
  for (size_t i = 0; i < order_.size(); ++i) {
    for (const Piece& piece : pieces_) {
      if (piece.parameter != order_[i]) continue;
      const Tensor state = nn::find(own, state_name(name, i, &piece));
      if (state.defined())
        flat[piece.range.buffer].narrow(0, piece.range.begin, piece.range.size).copy_(state);
    }
  }
  gather(flat);
  return flat;
}

// "exp_avg.NAME" of the optimizer's parameter `index`, or of a piece of it.
std::string ShardedUpdate::state_name(const std::string& name, size_t index,
                                      const Piece* piece) const {
  const std::string& parameter = optimizer_.whole_parameters()[index].name;
  return name + "." + (piece ? nn::Optimizer::part_name(parameter, piece->begin) : parameter);
}

// Steps are those of any rank that has a piece: all parameters are stepped together.
nn::StateDict ShardedUpdate::state_dict() const {
  const NoGradGuard no_grad;
  const nn::StateDict own = optimizer_.state_dict();
  std::vector<double> most = {0};
  for (const double steps : to_vector(nn::find(own, kSteps))) most[0] = std::max(most[0], steps);
  const Tensor agreed = from_values(most, {1}).to(parameters_[0].device());
  group_->all_reduce(agreed, ReduceOp::Max).wait();
  const auto steps = static_cast<int64_t>(agreed.item());

  const std::vector<std::string> names = optimizer_.state_names();
  std::vector<Tensors> flat;
  flat.reserve(names.size());
  if (steps > 0) {
    for (const std::string& name : names) flat.push_back(gather_state(own, name));
  }
  nn::StateDict whole;
  for (size_t i = 0; i < order_.size(); ++i) {
    const auto& place = gradients_.layout().places()[order_[i]];
    const DType dtype = parameters_[place.buffer].dtype();
    for (size_t k = 0; k < flat.size(); ++k) {
      if (names[k] == "master" && nn::compute_dtype(dtype) == dtype) continue;
      whole.push_back(
          {state_name(names[k], i, nullptr), flat[k][place.buffer]
                                                 .narrow(0, place.offset, place.shape.numel())
                                                 .reshape(place.shape)});
    }
  }
  const std::vector<int64_t> all_steps(order_.size(), steps);
  whole.push_back({kSteps, from_values(all_steps, {std::ssize(all_steps)})});
  return whole;
}

void ShardedUpdate::load_state_dict(const nn::StateDict& whole) {
  const NoGradGuard no_grad;
  const Tensor steps = nn::find(whole, kSteps);
  check(steps.defined() && steps.numel() == std::ssize(order_), ErrorKind::Shape, "ShardedUpdate",
        "the state's \"steps\" has shape ", steps.defined() ? steps.shape() : Shape{},
        ", expected [", order_.size(), "], the number of parameters");
  const std::vector<double> taken = to_vector(steps);
  nn::StateDict own;
  std::vector<int64_t> own_steps;
  for (size_t i = 0; i < order_.size(); ++i) {
    for (const Piece& piece : pieces_) {
      if (piece.parameter != order_[i]) continue;
      own_steps.push_back(static_cast<int64_t>(taken[i]));
      for (const std::string& name : optimizer_.state_names()) {
        const Tensor state = nn::find(whole, state_name(name, i, nullptr));
        if (!state.defined()) continue;
        check(state.shape() == gradients_.parameters()[piece.parameter].shape(), ErrorKind::Shape,
              "ShardedUpdate", state_name(name, i, nullptr), " has shape ", state.shape(),
              ", expected ", gradients_.parameters()[piece.parameter].shape());
        own.push_back({state_name(name, i, &piece),
                       state.reshape({-1}).narrow(0, piece.begin, piece.range.size)});
      }
    }
  }
  own.push_back({kSteps, from_values(own_steps, {std::ssize(own_steps)})});
  optimizer_.load_state_dict(own);
}

}  // namespace plinth::distributed
