#include "distributed/gradient_shards.h"

#include <algorithm>
#include <chrono>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"

namespace plinth::distributed {
namespace {

// Units whose gradients may be on their way while another's are made.
constexpr size_t kInFlight = 2;

}  // namespace

GradientShards::GradientShards(ShardGroups groups, const ShardPlan& plan,
                               const nn::FlatLayout& layout, Tensors parameters)
    : groups_(std::move(groups)),
      plan_(plan),
      parameters_(std::move(parameters)),
      unit_of_(parameters_.size()),
      offset_of_(parameters_.size()),
      options_(layout.options(0)),
      units_(plan.units().size()),
      sums_(zeros({plan.own_size()}, options_)),
      self_(std::make_shared<GradientShards*>(this)) {
  int64_t most = 0;
  for (size_t u = 0; u < units_.size(); ++u) {
    const ShardUnit& unit = plan_.units()[u];
    for (size_t i = 0; i < unit.parameters.size(); ++i) {
      unit_of_[unit.parameters[i]] = u;
      offset_of_[unit.parameters[i]] = unit.offsets[i];
    }
    most = std::max(most, unit.largest_size());  // all ranks make the same memory
  }
  // The backward pass meets the last block first, and the rest, the last unit, at its end.
  for (size_t u = units_.size() - 1; u-- > 0;) order_.push_back(u);
  order_.push_back(units_.size() - 1);
  received_ = groups_.shard->make_buffer(most * groups_.shard->size(), options_);
  watch(layout);
}

GradientShards::~GradientShards() {
  *self_ = nullptr;
}

// The hooks stay with the parameters; they do nothing once this is gone.
void GradientShards::watch(const nn::FlatLayout& layout) {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    shapes_.push_back(layout.places()[p].shape);
    parameters_[p].register_hook([self = self_, p](const Tensor&) {
      if (*self) (*self)->reach(p);
      return Tensor();
    });
    parameters_[p].register_post_accumulate_grad_hook([self = self_, p](Tensor&) {
      if (*self) (*self)->gradient_is_final(p);
    });
  }
}

// ---- a step ----

void GradientShards::begin_step(int64_t total) {
  const int replicas = groups_.replicate ? groups_.replicate->size() : 1;
  const int ranks = groups_.shard->size() * replicas;
  check(total > 0 && total % ranks == 0, ErrorKind::Argument, "GradientShards", "got ", total,
        " micro-batches a step, takes a multiple of the ", ranks, " ranks");
  const bool is_new = total != planned_;
  total_ = planned_ = total;
  count_ = total / ranks;
  first_ = groups_.replicate ? groups_.replicate->rank() * (total / replicas) : 0;
  round_ = -1;
  exposed_seconds_ = 0;
  last_.clear();
  if (groups_.replicate && is_new) plan_replicas();
}

void GradientShards::begin_micro_batch() {
  check(total_ > 0 && !in_micro_batch_ && round_ + 1 < count_, ErrorKind::Argument,
        "GradientShards", "begin_micro_batch() was called out of turn");
  ++round_;
  next_ = 0;
  in_micro_batch_ = true;
  for (size_t u = 0; u < units_.size(); ++u)
    units_[u].missing = std::ssize(plan_.units()[u].parameters);
}

// A gradient is about to be added to this parameter's: its unit needs memory. The host waits until
// that of an earlier unit is free again: one that ran ahead of the device would take more and more.
void GradientShards::reach(size_t parameter) {
  Unit& unit = units_[unit_of_[parameter]];
  if (!in_micro_batch_ || unit.memory.defined()) return;
  while (in_flight_.size() >= kInFlight) {
    wait(in_flight_.front(), true);
    in_flight_.pop_front();
  }
  const ShardUnit& place = plan_.units()[unit_of_[parameter]];
  const OpScope scope("unit_gradients", ScopeKind::Phase);
  const NoGradGuard no_grad;
  unit.memory = zeros({place.size}, options_);
  for (size_t i = 0; i < place.parameters.size(); ++i) {
    const size_t p = place.parameters[i];
    parameters_[p].set_grad(Tensor::from_storage(unit.memory.storage(), shapes_[p],
                                                 shapes_[p].contiguous_strides(), place.offsets[i],
                                                 options_.dtype));
  }
}

void GradientShards::gradient_is_final(size_t parameter) {
  if (!in_micro_batch_) return;
  --units_[unit_of_[parameter]].missing;
  send_complete(false);
}

// Always in the same order, since all ranks have to agree on it.
void GradientShards::send_complete(bool all) {
  for (; next_ < order_.size() && (all || units_[order_[next_]].missing <= 0); ++next_)
    send(order_[next_]);
}

void GradientShards::reach_end_of(size_t unit) {
  if (!in_micro_batch_) return;
  for (size_t u = unit + 1; u + 1 < units_.size(); ++u) units_[u].missing = 0;
  send_complete(false);
}

void GradientShards::end_micro_batch() {
  check(in_micro_batch_, ErrorKind::Argument, "GradientShards",
        "end_micro_batch() was called without begin_micro_batch()");
  send_complete(true);
  in_micro_batch_ = false;
}

void GradientShards::finish() {
  check(total_ > 0 && !in_micro_batch_ && round_ + 1 == count_, ErrorKind::Argument,
        "GradientShards", "finish() was called before the last micro-batch");
  const OpScope scope("wait_for_gradients", ScopeKind::Phase);
  for (const Work& work : last_) wait(work, false);
  in_flight_.clear();
  total_ = 0;
  for (Unit& unit : units_) {
    while (unit.waiting.size() > 1) {
      unit.spare.push_back(std::move(unit.waiting.back().runs));
      unit.waiting.pop_back();
    }
    unit.waiting.clear();
  }
}

void GradientShards::wait(const Work& work, bool on_host) {
  const auto start = std::chrono::steady_clock::now();
  on_host ? work.wait_on_host() : work.wait();
  exposed_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// ---- a unit's gradients ----

void GradientShards::send(size_t u) {
  const OpScope scope("send_gradients", ScopeKind::Phase);
  const NoGradGuard no_grad;
  const ShardUnit& place = plan_.units()[u];
  Unit& unit = units_[u];
  if (!place.parameters.empty()) {
    reach(place.parameters[0]);  // where no gradient came: zeros
    Work work = exchange(u);
    in_flight_.push_back(work);
    const bool is_last = round_ + 1 == count_;
    if (is_last && groups_.replicate && place.own_size() > 0) work = exchange_replicas(u, work);
    if (is_last) last_.push_back(work);
    for (const size_t p : place.parameters) parameters_[p].set_grad({});
    unit.memory = {};  // the group holds it until it is sent
  }
  if (complete_) complete_(u);
}

Work GradientShards::exchange(size_t u) {
  const int ranks = groups_.shard->size();
  Unit& unit = units_[u];
  std::vector<Tensors> rows(ranks);
  int64_t at = 0;
  for (const ShardRun& run : plan_.units()[u].runs) {
    const Tensor arrived = received_.narrow(0, at, ranks * run.own_size);
    groups_.shard->all_to_all(arrived, unit.memory.narrow(0, run.begin, run.size()), run.counts,
                              std::vector<int64_t>(ranks, run.own_size));
    for (int rank = 0; rank < ranks; ++rank)
      rows[rank].push_back(arrived.narrow(0, rank * run.own_size, run.own_size));
    at += ranks * run.own_size;
  }
  Operations operations;
  for (int rank = 0; rank < ranks; ++rank)
    push(u, first_ + round_ * ranks + rank, rows[rank], operations);
  if (round_ + 1 == count_) add_remaining(unit, operations);
  return groups_.shard->in_order(doing(std::move(operations)));
}

// ---- adding, in the tree's order ----

std::function<void()> GradientShards::doing(Operations operations) {
  return [operations = std::move(operations)] {
    const NoGradGuard no_grad;
    for (const Operation& operation : operations) {
      Tensor to = operation.to;
      operation.adds ? to.add_(operation.from) : to.copy_(operation.from);
    }
  };
}

// A micro-batch's gradients follow those before. It is kept, in memory of its own, only if it
// cannot be added to them at once.
void GradientShards::push(size_t u, int64_t leaf, const Tensors& rows, Operations& operations) {
  Unit& unit = units_[u];
  const nn::TreeNode node{leaf, leaf + 1};
  if (!unit.waiting.empty() &&
      nn::are_siblings(unit.waiting.back().node, node, nn::kUnknownTotal)) {
    add(unit.waiting.back(), rows, operations);
    unit.waiting.back().node.end = node.end;
  } else {
    unit.waiting.push_back({node, take_room(u)});
    for (size_t i = 0; i < rows.size(); ++i)
      operations.push_back({unit.waiting.back().runs[i], rows[i], false});
  }
  while (unit.waiting.size() > 1 && nn::are_siblings(unit.waiting[unit.waiting.size() - 2].node,
                                                     unit.waiting.back().node, nn::kUnknownTotal))
    add_last_pair(unit, operations);
}

Tensors GradientShards::take_room(size_t u) {
  Unit& unit = units_[u];
  const ShardUnit& place = plan_.units()[u];
  if (!unit.waiting.empty() && !unit.spare.empty()) {
    Tensors room = std::move(unit.spare.back());
    unit.spare.pop_back();
    return room;
  }
  const OpScope scope("partial_sums", ScopeKind::Phase);
  Tensors room;
  for (const ShardRun& run : place.runs)
    room.push_back(unit.waiting.empty() ? sums_.narrow(0, run.own_offset, run.own_size)
                                        : Tensor::empty({run.own_size}, options_));
  return room;
}

void GradientShards::add(Part& sum, const Tensors& terms, Operations& operations) {
  for (size_t i = 0; i < terms.size(); ++i) operations.push_back({sum.runs[i], terms[i], true});
}

void GradientShards::add_last_pair(Unit& unit, Operations& operations) {
  Part right = std::move(unit.waiting.back());
  unit.waiting.pop_back();
  add(unit.waiting.back(), right.runs, operations);
  unit.waiting.back().node.end = right.node.end;
  unit.spare.push_back(std::move(right.runs));
}

// As far as this replica can, now that all of its micro-batches are there.
void GradientShards::add_remaining(Unit& unit, Operations& operations) {
  while (unit.waiting.size() > 1 && nn::are_siblings(unit.waiting[unit.waiting.size() - 2].node,
                                                     unit.waiting.back().node, total_))
    add_last_pair(unit, operations);
}

// ---- replicas ----

// Of a step of this many micro-batches: what remains of each replica, and how that is added.
void GradientShards::plan_replicas() {
  const int replicas = groups_.replicate->size();
  const int64_t each = total_ / replicas;
  std::vector<std::vector<nn::TreeNode>> nodes;
  std::vector<nn::TreeNode> all;
  replica_rows_ = 0;
  for (int replica = 0; replica < replicas; ++replica) {
    nodes.push_back(nn::tree_nodes(replica * each, (replica + 1) * each, total_));
    all.insert(all.end(), nodes.back().begin(), nodes.back().end());
    replica_rows_ = std::max(replica_rows_, std::ssize(nodes.back()));
  }
  std::vector<int64_t> row_of;
  for (int replica = 0; replica < replicas; ++replica) {
    for (int64_t i = 0; i < std::ssize(nodes[replica]); ++i)
      row_of.push_back(replica * replica_rows_ + i);
  }
  replica_additions_.clear();
  for (const auto& [to, from] : nn::tree_additions(all, total_).pairs)
    replica_additions_.emplace_back(row_of[to], row_of[from]);
  const int64_t size = replicas * replica_rows_ * (received_.numel() / groups_.shard->size());
  if (!nodes_.defined() || nodes_.numel() < size) nodes_ = Tensor::empty({size}, options_);
}

// Each gets the others' nodes, and adds them all.
Work GradientShards::exchange_replicas(size_t u, const Work& own) {
  ProcessGroup& group = *groups_.replicate;
  const Unit& unit = units_[u];
  const int64_t size = plan_.units()[u].own_size(), rows = replica_rows_;
  const auto row = [&](int64_t number) { return nodes_.narrow(0, number * size, size); };
  // A tensor of every run, and their place in a row.
  const auto copy = [](const Tensor& whole, const Tensors& runs, bool into_runs, Operations& to) {
    int64_t at = 0;
    for (const Tensor& run : runs) {
      const Tensor place = whole.narrow(0, at, run.numel());
      to.push_back(into_runs ? Operation{run, place, false} : Operation{place, run, false});
      at += run.numel();
    }
  };
  Operations before, after;
  for (int64_t i = 0; i < std::ssize(unit.waiting); ++i)
    copy(row(group.rank() * rows + i), unit.waiting[i].runs, false, before);
  for (const auto& [to, from] : replica_additions_) after.push_back({row(to), row(from), true});
  copy(row(0), unit.waiting[0].runs, true, after);
  group.in_order([own] { own.wait(); });
  group.in_order(doing(std::move(before)));
  group.all_gather(nodes_.narrow(0, 0, group.size() * rows * size),
                   nodes_.narrow(0, group.rank() * rows * size, rows * size));
  return group.in_order(doing(std::move(after)));
}

}  // namespace plinth::distributed
