#pragma once

// Gradients of which each rank keeps the sums of its own slices only (ZeRO stage 2, Rajbhandari et
// al. 2020, arXiv 1910.02054).
//
//   GradientShards gradients(groups, plan, layout, parameters);
//   for each step:
//     gradients.begin_step(micro_batches);
//     for each of this rank's micro-batches:
//       gradients.begin_micro_batch();
//       loss.backward();
//       gradients.end_micro_batch();
//     gradients.finish();                  sums() are this rank's slices of the step's sum
//
// A unit's gradients have memory from the moment that the backward pass reaches the unit until they
// are sent, to the ranks that own them, as soon as they are final. So that owners need not keep
// what they cannot add yet, ranks take turns: the i-th micro-batches of all ranks follow one
// another in the step's list. Owners add them as nn::GradientTree does, which needs log2 of the
// micro-batches further slices; the sums have the bits of one process.
//
// With replicas (the ranks of `replicate` own the same slices), each replica has a run of the list
// to itself, and replicas exchange the few nodes of the tree that remain, once a step.

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "distributed/process_group.h"
#include "distributed/shard_plan.h"
#include "nn/gradient_tree.h"

namespace plinth::distributed {

struct ShardGroups {
  std::shared_ptr<ProcessGroup> shard;      // ranks that share one copy of the model
  std::shared_ptr<ProcessGroup> replicate;  // those that own the same slices; null: this one alone
};

class GradientShards {
 public:
  // `parameters` take gradients, and are those of the layout.
  GradientShards(ShardGroups groups, const ShardPlan& plan, const nn::FlatLayout& layout,
                 Tensors parameters);
  ~GradientShards();
  GradientShards(const GradientShards&) = delete;
  GradientShards& operator=(const GradientShards&) = delete;

  // `total` micro-batches, of all ranks; a multiple of their number.
  void begin_step(int64_t total);
  void begin_micro_batch();
  // The backward pass is at the end of a unit: those behind it are final, also where an expert that
  // no token reached got nothing. All ranks call it at the same place of their pass, so that what
  // they send stands in one order among all else that they do together.
  void reach_end_of(size_t unit);
  void end_micro_batch();
  // Waits for the sums. Throws Error(Io).
  void finish();

  // Of what this rank owns, in ShardPlan's order.
  const Tensor& sums() const { return sums_; }
  // Called when a unit's gradients of a micro-batch are complete, and on their way.
  void when_complete(std::function<void(size_t unit)> call) { complete_ = std::move(call); }
  // Of the last step: for how long this rank waited for others or for transfers.
  double exposed_seconds() const { return exposed_seconds_; }

 private:
  // The sum of some micro-batches, of what this rank owns of a unit: a tensor a run.
  struct Part {
    nn::TreeNode node;
    Tensors runs;
  };
  struct Unit {
    Tensor memory;                    // of the micro-batch at hand
    int64_t missing = 0;              // parameters whose gradient is not final
    std::vector<Part> waiting = {};   // in order; the first lies in sums_
    std::vector<Tensors> spare = {};  // for waiting
  };
  // What an owner does with what has arrived: the group does it in this order.
  struct Operation {
    Tensor to, from;
    bool adds;
  };
  using Operations = std::vector<Operation>;
  static std::function<void()> doing(Operations operations);

  void watch(const nn::FlatLayout& layout);
  void reach(size_t parameter);
  void gradient_is_final(size_t parameter);
  void send_complete(bool all);
  void send(size_t unit);
  Work exchange(size_t unit);
  void push(size_t unit, int64_t leaf, const Tensors& rows, Operations& operations);
  Tensors take_room(size_t unit);
  static void add(Part& sum, const Tensors& terms, Operations& operations);
  void add_last_pair(Unit& unit, Operations& operations);
  void add_remaining(Unit& unit, Operations& operations);
  void plan_replicas();
  Work exchange_replicas(size_t unit, const Work& own);
  void wait(const Work& work, bool on_host);

  ShardGroups groups_;
  const ShardPlan& plan_;
  Tensors parameters_;
  std::vector<size_t> unit_of_;
  std::vector<int64_t> offset_of_;  // of a parameter in its unit's memory
  std::vector<Shape> shapes_;
  TensorOptions options_;
  std::vector<size_t> order_;  // of sending
  std::vector<Unit> units_;
  Tensor sums_;
  Tensor received_, nodes_;  // memory for what arrives, of a unit
  std::function<void(size_t)> complete_;
  std::shared_ptr<GradientShards*> self_;  // what the parameters' hooks hold

  int64_t replica_rows_ = 0;                                    // of nodes_, for each replica
  std::vector<std::pair<int64_t, int64_t>> replica_additions_;  // of rows of nodes_

  int64_t total_ = 0;    // micro-batches of the step; 0 between steps
  int64_t planned_ = 0;  // of the step for which replicas are planned
  int64_t first_ = 0;    // of this rank's replica
  int64_t count_ = 0;    // of each rank
  int64_t round_ = -1;
  bool in_micro_batch_ = false;
  size_t next_ = 0;             // to send, in order_
  std::deque<Work> in_flight_;  // units' memory that is not free yet
  std::vector<Work> last_;      // of the last round
  double exposed_seconds_ = 0;
};

}  // namespace plinth::distributed
