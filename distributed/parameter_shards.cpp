#include "distributed/parameter_shards.h"

#include <algorithm>
#include <chrono>

#include "core/autograd.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "nn/absent.h"

namespace plinth::distributed {

ParameterShards::ParameterShards(std::shared_ptr<ProcessGroup> group, const ShardPlan& plan,
                                 const nn::FlatLayout& layout, Tensors parameters, bool whole,
                                 const std::function<Tensor(size_t)>& values)
    : group_(std::move(group)),
      plan_(plan),
      parameters_(std::move(parameters)),
      options_(layout.options(0)),
      whole_(whole),
      units_(plan.units().size()),
      absent_(nn::absent({1}, options_)) {
  const NoGradGuard no_grad;
  for (const auto& at : layout.places()) shapes_.push_back(at.shape);
  int64_t most = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    const ShardUnit& unit = plan_.units()[u];
    Tensors given;
    for (const size_t p : unit.parameters) given.push_back(parameters_[p].detach());
    units_[u].memory = zeros({unit.size}, options_);
    place(u);
    for (size_t i = 0; i < given.size(); ++i) {
      const size_t p = unit.parameters[i];
      parameters_[p].detach().copy_(nn::is_absent(given[i]) ? values(p) : given[i]);
    }
    for (const ShardRun& run : unit.runs) {
      const Tensor part = units_[u].memory.narrow(0, run.own_begin, run.own_size);
      units_[u].own.push_back(whole_ ? part : part.clone());
      most = std::max(most, std::ranges::max(run.counts));
    }
    release(u);
  }
  rows_ = group_->make_buffer(most * group_->size(), options_);
}

Tensor ParameterShards::own(size_t unit, size_t run) const {
  return units_[unit].own[run];
}

// Makes the parameters views of the unit's memory.
void ParameterShards::place(size_t u) {
  const ShardUnit& unit = plan_.units()[u];
  for (size_t i = 0; i < unit.parameters.size(); ++i) {
    const Shape& shape = shapes_[unit.parameters[i]];
    parameters_[unit.parameters[i]].set_data(Tensor::from_storage(units_[u].memory.storage(), shape,
                                                                  shape.contiguous_strides(),
                                                                  unit.offsets[i], options_.dtype));
  }
  units_[u].in_use = true;
}

void ParameterShards::fetch(size_t u) {
  if (units_[u].memory.defined()) return;
  const OpScope scope("gathered_unit", ScopeKind::Phase);
  units_[u].memory = Tensor::empty({plan_.units()[u].size}, options_);
  units_[u].arriving = gather(u);
}

void ParameterShards::use(size_t u) {
  if (units_[u].in_use) return;
  fetch(u);
  const OpScope scope("wait_for_parameters", ScopeKind::Phase);
  const auto start = std::chrono::steady_clock::now();
  units_[u].arriving.wait();
  exposed_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  place(u);
}

// What is on its way is waited for: the group may not write to memory that has a new owner.
void ParameterShards::release(size_t u) {
  if (whole_ || !units_[u].memory.defined()) return;
  units_[u].arriving.wait();
  units_[u].arriving = {};
  for (const size_t p : plan_.units()[u].parameters)
    parameters_[p].set_data(nn::absent(shapes_[p], absent_));
  units_[u].memory = {};
  units_[u].in_use = false;
}

void ParameterShards::use_all() {
  for (size_t u = 0; u < units_.size(); ++u) use(u);
}

void ParameterShards::release_all() {
  for (size_t u = 0; u < units_.size(); ++u) release(u);
}

void ParameterShards::updated() {
  if (!whole_) return;
  const OpScope scope("gather_parameters", ScopeKind::Phase);
  Work last;
  for (size_t u = 0; u < units_.size(); ++u) last = gather(u);
  last.wait();
}

void ParameterShards::take_own() {
  if (whole_) return;  // they are views of the parameters
  const NoGradGuard no_grad;
  for (size_t u = 0; u < units_.size(); ++u) {
    const ShardUnit& unit = plan_.units()[u];
    for (size_t r = 0; r < unit.runs.size(); ++r) {
      const ShardRun& run = unit.runs[r];
      units_[u].own[r].copy_(units_[u].memory.narrow(0, run.own_begin, run.own_size));
    }
  }
}

// A run after the other: every rank's part goes to a row of rows_, whose rows are as long as the
// longest, and from there to its place. The group keeps the order.
Work ParameterShards::gather(size_t u) {
  const NoGradGuard no_grad;
  const ShardUnit& unit = plan_.units()[u];
  Work last;
  for (size_t r = 0; r < unit.runs.size(); ++r) {
    const ShardRun& run = unit.runs[r];
    const int64_t row = std::ranges::max(run.counts);
    const Tensor rows = rows_.narrow(0, 0, row * group_->size());
    const Tensor mine = rows.narrow(0, group_->rank() * row, row);
    group_->in_order([own = units_[u].own[r], to = mine.narrow(0, 0, run.own_size)] {
      const NoGradGuard without_graph;
      Tensor(to).copy_(own);
    });
    group_->all_gather(rows, mine);
    Tensors from, to;
    int64_t at = run.begin;
    for (int rank = 0; rank < group_->size(); ++rank) {
      from.push_back(rows.narrow(0, rank * row, run.counts[rank]));
      to.push_back(units_[u].memory.narrow(0, at, run.counts[rank]));
      at += run.counts[rank];
    }
    last = group_->in_order([from = std::move(from), to = std::move(to)] {
      const NoGradGuard without_graph;
      for (size_t i = 0; i < from.size(); ++i) Tensor(to[i]).copy_(from[i]);
    });
  }
  return last;
}

}  // namespace plinth::distributed
