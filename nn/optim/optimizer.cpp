#include "nn/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "nn/absent.h"

namespace plinth::nn {
namespace {

bool is_narrow(DType dtype) {
  return compute_dtype(dtype) != dtype;
}

std::string state_name(std::string_view state, const std::string& parameter) {
  return std::string(state).append(".").append(parameter);
}

void check_gradient(const Tensor& parameter, const Tensor& gradient,
                    const std::string& parameter_name, std::string_view optimizer) {
  check(!is_absent(parameter), ErrorKind::Argument, optimizer, "parameter ", parameter_name,
        " is absent, takes one that has been filled in");
  const bool fits = gradient.dtype() == parameter.dtype() ||
                    (is_narrow(parameter.dtype()) && gradient.dtype() == DType::Float32);
  check(fits, ErrorKind::DType, optimizer, "the gradient of ", parameter_name, " has dtype ",
        plinth::name(gradient.dtype()), ", expected the parameter's, ",
        plinth::name(parameter.dtype()), is_narrow(parameter.dtype()) ? ", or float32" : "");
}

}  // namespace

DType compute_dtype(DType dtype) {
  return dtype == DType::Float64 ? dtype : DType::Float32;
}

Optimizer::Optimizer(std::string_view name, const std::vector<ParameterGroup>& groups, double lr,
                     double weight_decay, NarrowUpdate narrow, uint64_t seed)
    : narrow_(narrow), seed_(seed) {
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const NamedTensor& entry : groups[g].parameters) {
      add(entry, groups[g], g, weight_decay, name);
    }
  }
  std::unordered_set<std::string_view> names;
  std::unordered_set<const TensorImpl*> tensors;
  for (const Slot& slot : slots_) {
    check(names.insert(slot.name).second && tensors.insert(slot.parameter.impl()).second,
          ErrorKind::Argument, name, "parameter ", slot.name, " is given twice");
  }
  check(std::isfinite(lr) && lr >= 0, ErrorKind::Argument, name, "lr is ", lr,
        ", expected at least 0");
  lr_ = lr;
}

void Optimizer::add(const NamedTensor& entry, const ParameterGroup& group, size_t number,
                    double weight_decay, std::string_view name) {
  const Tensor& parameter = entry.tensor;
  check(parameter.defined() && parameter.is_leaf(), ErrorKind::Argument, name, "parameter ",
        entry.name, " is not a leaf tensor");
  const DType dtype = parameter.dtype();
  check(is_floating_point(dtype) && !is_float8(dtype), ErrorKind::DType, name, "parameter ",
        entry.name, " has dtype ", plinth::name(dtype),
        ", expected float64, float32, bfloat16 or float16");
  check(parameter.is_contiguous() || is_absent(parameter), ErrorKind::Argument, name, "parameter ",
        entry.name, " is not contiguous");
  check(narrow_ != NarrowUpdate::Stochastic || dtype != DType::Float16, ErrorKind::DType, name,
        "parameter ", entry.name, " is float16, but stochastic rounding is for bfloat16");
  const double decay = group.weight_decay.value_or(weight_decay);
  check(std::isfinite(decay) && decay >= 0, ErrorKind::Argument, name, "weight_decay is ", decay,
        ", expected at least 0");
  check(std::isfinite(group.lr_scale) && group.lr_scale >= 0, ErrorKind::Argument, name,
        "lr_scale is ", group.lr_scale, ", expected at least 0");
  slots_.push_back({entry.name, parameter, group.lr_scale, decay, number, 0, false, {}, {}});
  whole_.push_back(entry);
}

void Optimizer::check_option(std::string_view option, double value, double low, double high) const {
  check(value >= low && value < high, ErrorKind::Argument, name(), option, " is ", value,
        ", expected at least ", low, " and below ", high);
}

void Optimizer::set_lr(double lr) {
  check(std::isfinite(lr) && lr >= 0, ErrorKind::Argument, name(), "lr is ", lr,
        ", expected at least 0");
  lr_ = lr;
}

Tensors Optimizer::parameters() const {
  Tensors result;
  for (const Slot& slot : slots_) result.push_back(slot.parameter);
  return result;
}

void Optimizer::zero_grad(bool set_to_none) {
  const NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    Tensor gradient = slot.parameter.grad();
    if (!gradient.defined()) continue;
    if (set_to_none) {
      slot.parameter.set_grad({});
    } else {
      gradient.zero_();
    }
  }
}

// ---- parts ----

std::string Optimizer::part_name(std::string_view parameter, int64_t begin) {
  return std::string(parameter).append("@").append(std::to_string(begin));
}

void Optimizer::keep_parts(const std::function<std::vector<Part>(const Tensor& parameter)>& parts) {
  check(is_elementwise(), ErrorKind::Argument, name(),
        "updates a matrix as a whole, so that ranks cannot share it; AdamW, Lion and Sgd can be");
  check(narrow_ != NarrowUpdate::Stochastic, ErrorKind::Argument, name(),
        "rounds at random by an element's place in all parameters, so that ranks cannot share it; "
        "NarrowUpdate::Master and Nearest can be");
  const bool is_fresh = std::ranges::equal(slots_, whole_, [](const Slot& a, const NamedTensor& b) {
    return !a.has_state && a.parameter.is(b.tensor);
  });
  check(is_fresh, ErrorKind::Argument, name(),
        "has state or parts already, takes parts before its first step");
  std::vector<Slot> kept;
  for (const Slot& slot : slots_) {
    for (const Part& part : parts(slot.parameter)) {
      Slot own = slot;
      own.name = part_name(slot.name, part.begin);
      own.parameter = part.values;
      kept.push_back(std::move(own));
    }
  }
  slots_ = std::move(kept);
}

std::vector<std::string> Optimizer::state_names() const {
  std::vector<std::string> names;
  if (whole_.empty()) return names;
  bool has_master = false;
  for (const NamedTensor& parameter : whole_)
    has_master |= narrow_ == NarrowUpdate::Master && is_narrow(parameter.tensor.dtype());
  const Slot first{whole_[0].name, whole_[0].tensor, 1, 0, 0, 0, false, {}, {}};
  const std::vector<State> states = states_of(first);
  names.reserve(states.size() + 1);
  for (const State& state : states) names.emplace_back(state.name);
  if (has_master) names.emplace_back("master");
  return names;
}

// ---- the step ----

void Optimizer::make_state(Slot& slot) const {
  const DType dtype = compute_dtype(slot.parameter.dtype());
  for (const State& state : states_of(slot)) {
    slot.state.push_back(zeros(state.shape, {dtype, slot.parameter.device()}));
  }
  if (narrow_ == NarrowUpdate::Master && is_narrow(slot.parameter.dtype())) {
    slot.master = slot.parameter.detach().to(dtype);
  }
  slot.has_state = true;
}

std::vector<Optimizer::Bucket> Optimizer::buckets() {
  std::vector<Bucket> result;
  for (Slot& slot : slots_) {
    const Tensor gradient = slot.parameter.grad();
    if (!gradient.defined()) continue;
    check_gradient(slot.parameter, gradient, slot.name, name());
    Bucket bucket{slot.parameter.dtype(),
                  gradient.dtype(),
                  lr_ * slot.lr_scale,
                  slot.weight_decay,
                  slot.steps + 1,
                  slot.group,
                  0,
                  {}};
    const auto joins = [&](const Bucket& other) {
      return other.parameter_dtype == bucket.parameter_dtype &&
             other.gradient_dtype == bucket.gradient_dtype && other.lr == bucket.lr &&
             other.weight_decay == bucket.weight_decay && other.step == bucket.step &&
             other.group == bucket.group;
    };
    auto at = std::ranges::find_if(result, joins);
    if (at == result.end()) {
      bucket.number = static_cast<uint32_t>(result.size());
      at = result.insert(result.end(), std::move(bucket));
    }
    at->slots.push_back(&slot);
  }
  return result;
}

void Optimizer::make_states(const Bucket& bucket) const {
  for (Slot* slot : bucket.slots) {
    if (!slot->has_state) make_state(*slot);
  }
}

void Optimizer::count(const Bucket& bucket) {
  for (Slot* slot : bucket.slots) {
    slot->steps = bucket.step;
    slot->parameter.storage()->bump_version();
  }
}

void Optimizer::step(double grad_scale) {
  const OpScope scope("optimizer_step");
  const NoGradGuard no_grad;
  for (const Bucket& bucket : buckets()) {
    make_states(bucket);
    update(bucket, grad_scale, {});
    count(bucket);
  }
}

// ---- with its numbers in device memory ----

Optimizer::DeviceScalars Optimizer::scalars(const Bucket&, double) const {
  throw Error(ErrorKind::Argument, name(), "takes the numbers of a step from the host only");
}

std::vector<Optimizer::DeviceScalars> Optimizer::next_scalars(double grad_scale) {
  std::vector<DeviceScalars> result;
  for (const Bucket& bucket : buckets()) result.push_back(scalars(bucket, grad_scale));
  return result;
}

void Optimizer::step_on_device(const DeviceInputs& inputs) {
  check(steps_on_device(), ErrorKind::Argument, name(),
        "takes the numbers of a step from the host only");
  const NoGradGuard no_grad;
  for (const Bucket& bucket : buckets()) {
    make_states(bucket);
    DeviceInputs own = inputs;
    own.scalars += bucket.number;
    update(bucket, 1, own);
  }
}

void Optimizer::count_step() {
  for (const Bucket& bucket : buckets()) count(bucket);
}

// ---- state by name ----

StateDict Optimizer::state_of(const std::vector<Slot>& slots, const Optimizer& optimizer) {
  StateDict result;
  std::vector<int64_t> steps;
  for (const Slot& slot : slots) {
    steps.push_back(slot.steps);
    const std::vector<State> states = optimizer.states_of(slot);
    if (slot.steps == 0) continue;
    for (size_t i = 0; i < slot.state.size(); ++i) {
      result.push_back({state_name(states[i].name, slot.name), slot.state[i]});
    }
    if (slot.master.defined()) result.push_back({state_name("master", slot.name), slot.master});
  }
  result.push_back({kSteps, from_values(steps, {static_cast<int64_t>(steps.size())})});
  return result;
}

StateDict Optimizer::state_dict() const {
  return state_of(slots_, *this);
}

void Optimizer::load_state_dict(const StateDict& saved) {
  const NoGradGuard no_grad;
  const Tensor steps = find(saved, kSteps);
  const auto count = static_cast<int64_t>(slots_.size());
  check(steps.defined() && steps.shape() == Shape{count}, ErrorKind::Shape, name(),
        "the state's \"steps\" has shape ", steps.defined() ? steps.shape() : Shape{},
        ", expected [", count, "], the number of parameters");
  // Into fresh slots first, so that a state that does not fit leaves this optimizer as it was.
  std::vector<Slot> fresh = slots_;
  const std::vector<double> taken = to_vector(steps);
  for (size_t i = 0; i < fresh.size(); ++i) {
    fresh[i].steps = static_cast<int64_t>(taken[i]);
    fresh[i].has_state = false;
    fresh[i].state.clear();
    fresh[i].master = {};
    if (fresh[i].steps > 0) make_state(fresh[i]);
  }
  load(state_of(fresh, *this), saved, true, name());
  slots_ = std::move(fresh);
}

}  // namespace plinth::nn
