#include "distributed/zero.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "nn/clip.h"

namespace plinth::distributed {

ShardedUpdate::ShardedUpdate(const std::vector<GradientShare>& shares, nn::Optimizer& optimizer)
    : optimizer_(optimizer) {
  for (const GradientShare& share : shares) add_share(share);
  for (const nn::NamedTensor& parameter : optimizer_.whole_parameters())
    order_.push_back(place_of(parameter));
  for (size_t s = 0; s < shares_.size(); ++s) {
    Share& share = shares_[s];
    share.parameters =
        nn::flatten_parameters(share.gradients->parameters(), share.gradients->layout());
    cut_pieces(s);
  }
  optimizer_.keep_parts([&](const Tensor& parameter) {
    std::vector<nn::Optimizer::Part> parts;
    for (const Piece& piece : pieces_) {
      if (shares_[piece.share].gradients->parameters()[piece.parameter].is(parameter))
        parts.push_back({piece.begin, piece.values});
    }
    return parts;
  });
}

void ShardedUpdate::add_share(const GradientShare& share) {
  Share own{share.group, share.gradients, {}, {}, {}};
  if (share.parallel) {
    own.buckets = share.parallel->buckets();
    for (const Range& bucket : own.buckets) own.slices.push_back(share.parallel->own_slice(bucket));
  } else {
    const Tensors& buffers = share.gradients->buffers();
    for (size_t b = 0; b < buffers.size(); ++b) own.slices.push_back({b, 0, buffers[b].numel()});
  }
  shares_.push_back(std::move(own));
}

ShardedUpdate::Place ShardedUpdate::place_of(const nn::NamedTensor& parameter) const {
  for (size_t s = 0; s < shares_.size(); ++s) {
    const Tensors& parameters = shares_[s].gradients->parameters();
    for (size_t p = 0; p < parameters.size(); ++p) {
      if (parameters[p].is(parameter.tensor)) return {s, p};
    }
  }
  throw Error(ErrorKind::Argument, "ShardedUpdate",
              detail::concat("parameter ", parameter.name, " of the optimizer takes no gradient"));
}

// What this rank's slices have of each parameter.
void ShardedUpdate::cut_pieces(size_t s) {
  const Share& share = shares_[s];
  for (size_t p = 0; p < share.gradients->parameters().size(); ++p) {
    const auto& place = share.gradients->layout().places()[p];
    for (const Range& slice : share.slices) {
      const int64_t begin = std::max(slice.begin, place.offset);
      const int64_t end = std::min(slice.begin + slice.size, place.offset + place.shape.numel());
      if (slice.buffer != place.buffer || begin >= end) continue;
      const Tensor& buffer = share.parameters[place.buffer];
      Tensor values =
          Tensor::from_storage(buffer.storage(), {end - begin}, {1}, begin, buffer.dtype());
      values.set_requires_grad();
      pieces_.push_back({s, p, begin - place.offset, {place.buffer, begin, end - begin}, values});
    }
  }
}

void ShardedUpdate::attach_gradients() const {
  for (const Piece& piece : pieces_)
    Tensor(piece.values)
        .set_grad(shares_[piece.share].gradients->buffers()[piece.range.buffer].narrow(
            0, piece.range.begin, piece.range.size));
}

std::vector<GradientPart> ShardedUpdate::gradient_parts(size_t share) const {
  return distributed::gradient_parts(*shares_.at(share).gradients, &shares_.at(share).slices);
}

// Every rank fills in the chunks that it owns; sums of one number and zeros are exact.
double ShardedUpdate::grad_norm() const {
  const OpScope scope("grad_norm");
  const NoGradGuard no_grad;
  double squares[4] = {};  // by dtype, as nn::global_norm() adds them
  for (const Share& share : shares_) {
    const Tensors contents = share.gradients->contents();
    for (size_t b = 0; b < contents.size(); ++b) {
      const int64_t chunk = nn::norm_chunk(contents[b].device()), size = contents[b].numel();
      const Tensor sums =
          zeros({(size + chunk - 1) / chunk}, {DType::Float64, contents[b].device()});
      for (const Range& slice : share.slices) {
        const int64_t count = std::min(slice.size, size - slice.begin);
        if (slice.buffer != b || count <= 0) continue;
        const Tensor own = nn::chunk_sums_of_squares(contents[b].narrow(0, slice.begin, count));
        sums.narrow(0, slice.begin / chunk, own.numel()).copy_(own);
      }
      share.group->all_reduce(sums).wait();
      constexpr DType kOrder[] = {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16};
      const auto at = std::ranges::find(kOrder, contents[b].dtype()) - kOrder;
      squares[at] += nn::sum_of_chunks(sums);
    }
    share.group->raise_if_failed();
  }
  return std::sqrt(squares[0] + squares[1] + squares[2] + squares[3]);
}

void ShardedUpdate::step(double grad_scale) {
  attach_gradients();
  optimizer_.step(grad_scale);
  for (const Share& share : shares_) gather(share, share.parameters);
}

void ShardedUpdate::gather(const Share& share, const Tensors& buffers) {
  const OpScope scope("gather_parameters", ScopeKind::Phase);
  const NoGradGuard no_grad;
  Work last;
  for (size_t i = 0; i < share.buckets.size(); ++i) {
    const Range &bucket = share.buckets[i], &slice = share.slices[i];
    const Tensor& buffer = buffers[bucket.buffer];
    last = share.group->all_gather(buffer.narrow(0, bucket.begin, bucket.size),
                                   buffer.narrow(0, slice.begin, slice.size).clone());
  }
  last.wait();
}

// ---- state ----

// Of each buffer, the state of that name in the places of its parameters.
Tensors ShardedUpdate::gather_state(const nn::StateDict& own, const std::string& name,
                                    size_t s) const {
  const Share& share = shares_[s];
  Tensors flat;
  flat.reserve(share.parameters.size());
  for (const Tensor& buffer : share.parameters)
    flat.push_back(zeros({buffer.numel()}, {nn::compute_dtype(buffer.dtype()), buffer.device()}));
  for (size_t i = 0; i < order_.size(); ++i) {
    for (const Piece& piece : pieces_) {
      if (piece.share != s || !order_[i].holds(piece)) continue;
      const Tensor state = nn::find(own, state_name(name, i, &piece));
      if (state.defined())
        flat[piece.range.buffer].narrow(0, piece.range.begin, piece.range.size).copy_(state);
    }
  }
  gather(share, flat);
  return flat;
}

// "exp_avg.NAME" of the optimizer's parameter `index`, or of a piece of it.
std::string ShardedUpdate::state_name(const std::string& name, size_t index,
                                      const Piece* piece) const {
  const std::string& parameter = optimizer_.whole_parameters()[index].name;
  return name + "." + (piece ? nn::Optimizer::part_name(parameter, piece->begin) : parameter);
}

// Those of any rank that has a piece: all parameters are stepped together.
int64_t ShardedUpdate::steps_of(const nn::StateDict& own) const {
  double most = 0;
  for (const double steps : to_vector(nn::find(own, nn::Optimizer::kSteps)))
    most = std::max(most, steps);
  for (const Share& share : shares_) {
    if (share.parameters.empty()) continue;
    const Device device = share.parameters[0].device();
    const Tensor agreed = from_values(std::vector<double>{most}, {1}).to(device);
    share.group->all_reduce(agreed, ReduceOp::Max).wait();
    most = share.group->to_host(agreed).item();
  }
  return static_cast<int64_t>(most);
}

nn::StateDict ShardedUpdate::state_dict() const {
  const NoGradGuard no_grad;
  const nn::StateDict own = optimizer_.state_dict();
  const int64_t steps = steps_of(own);
  const std::vector<std::string> names = optimizer_.state_names();
  std::vector<std::vector<Tensors>> flat(names.size());  // by name, share and buffer
  for (size_t k = 0; steps > 0 && k < names.size(); ++k) {
    for (size_t s = 0; s < shares_.size(); ++s) flat[k].push_back(gather_state(own, names[k], s));
  }
  nn::StateDict whole;
  for (size_t i = 0; i < order_.size(); ++i) {
    const auto [s, parameter] = order_[i];
    const auto& place = shares_[s].gradients->layout().places()[parameter];
    const DType dtype = shares_[s].parameters[place.buffer].dtype();
    for (size_t k = 0; steps > 0 && k < names.size(); ++k) {
      if (names[k] == "master" && nn::compute_dtype(dtype) == dtype) continue;
      whole.push_back(
          {state_name(names[k], i, nullptr), flat[k][s][place.buffer]
                                                 .narrow(0, place.offset, place.shape.numel())
                                                 .reshape(place.shape)});
    }
  }
  const std::vector<int64_t> all_steps(order_.size(), steps);
  whole.push_back({nn::Optimizer::kSteps, from_values(all_steps, {std::ssize(all_steps)})});
  return whole;
}

void ShardedUpdate::load_state_dict(const nn::StateDict& whole) {
  const NoGradGuard no_grad;
  const Tensor steps = nn::find(whole, nn::Optimizer::kSteps);
  check(steps.defined() && steps.numel() == std::ssize(order_), ErrorKind::Shape, "ShardedUpdate",
        "the state's \"steps\" has shape ", steps.defined() ? steps.shape() : Shape{},
        ", expected [", order_.size(), "], the number of parameters");
  const std::vector<double> taken = to_vector(steps);
  nn::StateDict own;
  std::vector<int64_t> own_steps;
  for (size_t i = 0; i < order_.size(); ++i) {
    for (const Piece& piece : pieces_) {
      if (!order_[i].holds(piece)) continue;
      own_steps.push_back(static_cast<int64_t>(taken[i]));
      for (const std::string& name : optimizer_.state_names()) {
        const Tensor state = nn::find(whole, state_name(name, i, nullptr));
        if (!state.defined()) continue;
        const Shape& shape = optimizer_.whole_parameters()[i].tensor.shape();
        check(state.shape() == shape, ErrorKind::Shape, "ShardedUpdate",
              state_name(name, i, nullptr), " has shape ", state.shape(), ", expected ", shape);
        own.push_back({state_name(name, i, &piece),
                       state.reshape({-1}).narrow(0, piece.begin, piece.range.size)});
      }
    }
  }
  own.push_back({nn::Optimizer::kSteps, from_values(own_steps, {std::ssize(own_steps)})});
  optimizer_.load_state_dict(own);
}

}  // namespace plinth::distributed
