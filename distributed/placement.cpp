#include "distributed/placement.h"

#include <algorithm>
#include <utility>

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "nn/absent.h"

namespace plinth::distributed {
namespace {

Tensor to_host(const Tensor& x) {
  return x.detach().to(Device{}).contiguous();
}

}  // namespace

Placement::Placement(std::shared_ptr<ProcessGroup> world, std::vector<nn::NamedTensor> parameters,
                     std::vector<bool> own, Device device)
    : world_(std::move(world)),
      parameters_(std::move(parameters)),
      own_(std::move(own)),
      device_(device) {
  check(own_.size() == parameters_.size(), ErrorKind::Argument, "Placement", "own has ",
        own_.size(), " entries, takes one for each of the ", parameters_.size(), " parameters");
  // A rank that has a parameter offers its number; the least one wins.
  std::vector<int64_t> ranks;
  for (const bool is_own : own_) ranks.push_back(is_own ? world_->rank() : world_->size());
  const Tensor least = from_values(ranks, {static_cast<int64_t>(ranks.size())}).to(device_);
  world_->all_reduce(least, ReduceOp::Min).wait();
  const Tensor holders = world_->to_host(least);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    holders_.push_back(static_cast<int>(holders.data<int64_t>()[i]));
    check(holders_[i] < world_->size() || is_dry_run(), ErrorKind::Argument, "Placement",
          "no rank has ", parameters_[i].name);
  }
  release();
}

void Placement::release() {
  const NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (own_[i]) continue;
    Tensor& parameter = parameters_[i].tensor;
    const Tensor nothing = zeros({1}, {parameter.dtype(), device_});
    parameter.set_data(nn::absent(parameter.shape(), nothing));
    parameter.set_requires_grad(false);
  }
}

void Placement::fill() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (own_[i]) continue;
    Tensor& parameter = parameters_[i].tensor;
    parameter.set_data(Tensor::empty(parameter.shape(), {parameter.dtype(), {}}));
  }
}

nn::StateDict Placement::own_parameters() const {
  nn::StateDict result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (own_[i]) result.push_back(parameters_[i]);
  }
  return result;
}

Tensor Placement::fetch(size_t parameter, const Tensor& own, DType dtype) const {
  const int holder = holders_[parameter];
  if (world_->rank() == 0) {
    if (holder == 0) return to_host(own);
    const Tensor theirs = Tensor::empty(parameters_[parameter].tensor.shape(), {dtype, device_});
    world_->recv(theirs, holder).wait();
    return world_->to_host(theirs);
  }
  if (world_->rank() == holder) world_->send(own.detach().contiguous(), 0).wait();
  return {};
}

nn::StateDict Placement::gather_weights() const {
  const NoGradGuard no_grad;
  nn::StateDict whole;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    const Tensor value = fetch(i, tensor, tensor.dtype());
    if (value.defined()) whole.push_back({name, value});
  }
  return whole;
}

nn::StateDict Placement::gather(const nn::StateDict& own, const std::string& word) const {
  const NoGradGuard no_grad;
  nn::StateDict whole;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string name = word + "." + parameters_[i].name;
    const DType dtype = nn::compute_dtype(parameters_[i].tensor.dtype());
    const Tensor value = fetch(i, nn::find(own, name), dtype);
    if (value.defined()) whole.push_back({name, value});
  }
  for (const auto& [name, tensor] : own) {
    if (world_->rank() == 0 && !name.starts_with(word + ".")) whole.push_back({name, tensor});
  }
  return whole;
}

size_t Placement::number(const std::string& name) const {
  const auto at = std::ranges::find(parameters_, name, &nn::NamedTensor::name);
  check(at != parameters_.end(), ErrorKind::Argument, "Placement", "there is no parameter ", name);
  return static_cast<size_t>(at - parameters_.begin());
}

nn::StateDict Placement::gather_state(const nn::Optimizer& optimizer, const nn::StateDict& own,
                                      const std::vector<std::string>& order) const {
  check(optimizer.is_elementwise(), ErrorKind::Argument, optimizer.name(),
        "updates a matrix as a whole, so that its state cannot be gathered; AdamW, Lion and Sgd "
        "can be");
  const NoGradGuard no_grad;
  const Tensor own_steps = nn::find(own, nn::Optimizer::kSteps);
  std::vector<int64_t> steps(order.size());
  const auto& given = optimizer.whole_parameters();
  for (size_t i = 0; i < given.size(); ++i) {
    const auto at = std::ranges::find(order, given[i].name);
    if (at != order.end()) steps[at - order.begin()] = own_steps.data<int64_t>()[i];
  }
  const Tensor all_steps = from_values(steps, {static_cast<int64_t>(steps.size())}).to(device_);
  world_->all_reduce(all_steps, ReduceOp::Max).wait();
  const Tensor taken = world_->to_host(all_steps);

  nn::StateDict whole;
  for (size_t i = 0; i < order.size(); ++i) {
    if (taken.data<int64_t>()[i] == 0) continue;
    const size_t parameter = number(order[i]);
    const DType dtype = nn::compute_dtype(parameters_[parameter].tensor.dtype());
    for (const std::string& state : optimizer.state_names()) {
      const std::string name = state + "." + order[i];
      const Tensor value = fetch(parameter, nn::find(own, name), dtype);
      if (value.defined()) whole.push_back({name, value});
    }
  }
  if (world_->rank() == 0) whole.push_back({nn::Optimizer::kSteps, taken});
  return whole;
}

nn::StateDict Placement::own_state(const nn::Optimizer& optimizer, const nn::StateDict& whole,
                                   const std::vector<std::string>& order) const {
  const Tensor steps = nn::find(whole, nn::Optimizer::kSteps);
  const auto count = static_cast<int64_t>(order.size());
  check(steps.defined() && steps.dtype() == DType::Int64 && steps.shape() == Shape{count},
        ErrorKind::Shape, optimizer.name(), "the state's \"steps\" takes int64 [", count,
        "], the number of parameters");
  nn::StateDict own;
  std::vector<int64_t> own_steps;
  for (const nn::NamedTensor& parameter : optimizer.whole_parameters()) {
    const auto at = std::ranges::find(order, parameter.name) - order.begin();
    check(at < count, ErrorKind::Argument, "Placement", "there is no parameter ", parameter.name);
    own_steps.push_back(steps.data<int64_t>()[at]);
    for (const std::string& state : optimizer.state_names()) {
      const std::string name = state + "." + parameter.name;
      if (const Tensor value = nn::find(whole, name); value.defined()) own.push_back({name, value});
    }
  }
  own.push_back(
      {nn::Optimizer::kSteps, from_values(own_steps, {static_cast<int64_t>(own_steps.size())})});
  return own;
}

}  // namespace plinth::distributed
