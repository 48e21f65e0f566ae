#include "nn/ema.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "nn/optim/optimizer.h"

namespace plinth::nn {

Ema::Ema(const Module& module, EmaOptions options) : Ema(module.named_parameters(), options) {}

Ema::Ema(const StateDict& parameters, EmaOptions options) : options_(options) {
  check(options.decay >= 0 && options.decay < 1, ErrorKind::Argument, "Ema", "decay is ",
        options.decay, ", expected at least 0 and below 1");
  const OpScope scope("moving_average", ScopeKind::Phase);
  const NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) {
    const Tensor average = parameter.detach().clone().to(compute_dtype(parameter.dtype()));
    entries_.push_back({name, parameter, average});
  }
}

void Ema::update() {
  const NoGradGuard no_grad;
  const double n = static_cast<double>(updates_++);
  const double decay =
      options_.warm_up ? std::min(options_.decay, (1 + n) / (10 + n)) : options_.decay;
  for (Entry& entry : entries_) {
    entry.average.add_(entry.parameter.detach() - entry.average, 1 - decay);
  }
}

StateDict Ema::state_dict() const {
  StateDict result;
  for (const Entry& entry : entries_) {
    result.push_back({std::string("average.").append(entry.name), entry.average});
  }
  result.push_back({"updates", full({}, static_cast<double>(updates_), {DType::Int64, {}})});
  return result;
}

void Ema::load_state_dict(const StateDict& saved) {
  const StateDict target = state_dict();
  load(target, saved, true, "Ema");
  updates_ = target.back().tensor.item_int();
}

EmaScope::EmaScope(Ema& ema) : ema_(ema) {
  const NoGradGuard no_grad;
  for (Ema::Entry& entry : ema_.entries_) {
    saved_.push_back(entry.parameter.detach().clone());
    entry.parameter.copy_(entry.average);
  }
}

EmaScope::~EmaScope() {
  const NoGradGuard no_grad;
  for (size_t i = 0; i < saved_.size(); ++i) ema_.entries_[i].parameter.copy_(saved_[i]);
}

}  // namespace plinth::nn
