#pragma once

// ZeRO stages 2 and 3 as a plan for a module that knows nothing of it: gradients, optimizer state
// and, in stage 3, the parameters themselves are shared by the ranks of a group, in units: each
// block of the model (a child that has children), and the rest. With replicas, `dp_shard` ranks
// share a copy, and world.size() / dp_shard such groups train together: PyTorch's hybrid sharding.
//
//   ShardedTraining training(world, model, optimizer, {.stage = 3});
//   const Share share = training.share(micro_batches);
//   for each step:
//     training.begin_step(micro_batches);
//     for (int64_t i = 0; i < share.count; ++i) {
//       ShardedPass pass(training, ShardedPass::Kind::Training);
//       Tensor loss = ...(share.at(i));      the blocks' parameters come and go
//       pass.backward(loss);
//     }
//     training.finish();
//     training.step(scale);
//
// The bits are those of one process: see gradient_shards.h and zero.h.

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "distributed/data_parallel.h"
#include "distributed/gradient_shards.h"
#include "distributed/parameter_shards.h"
#include "distributed/tensor/shards.h"
#include "nn/absent.h"
#include "nn/block_observer.h"
#include "nn/optim/optimizer.h"

namespace plinth::distributed {

struct ShardingOptions {
  int stage = 3;         // 2: gradients and optimizer state; 3: parameters, too
  int64_t dp_shard = 0;  // ranks that share a copy; 0: all
  // Of parameters that are absent: no rank has all of them at once.
  nn::ParameterValues values = {};
};

// A rank's micro-batches of a step: ranks that share a copy take turns (gradient_shards.h). Throws
// Error(Argument) unless the ranks divide the micro-batches, and dp_shard the ranks.
Share turns_of(const ProcessGroup& world, int64_t micro_batches, int64_t dp_shard);

class ShardedTraining {
 public:
  // All ranks call it with the same whole module, and an optimizer of all of its parameters; both
  // must outlive this. Throws Error(Argument) for an optimizer that cannot be shared, parameters of
  // several dtypes or without gradients, and buffers to save, which ranks would not agree on.
  ShardedTraining(std::shared_ptr<ProcessGroup> world, nn::Module& module, nn::Optimizer& optimizer,
                  const ShardingOptions& options);

  Share share(int64_t micro_batches) const;

  // ---- a step; all ranks call these together ----
  void begin_step(int64_t micro_batches);
  void finish() { gradients_->finish(); }
  double grad_norm() const;
  // This rank's sums of the gradients, after finish().
  std::vector<GradientPart> gradient_parts() const;
  void step(double grad_scale);
  // Since begin_step(): for how long this rank waited for others or for transfers.
  double exposed_seconds() const;

  // ---- what this rank has ----

  // Elements [begin, begin + values.numel()) of a parameter in row-major order.
  struct Piece {
    std::string parameter;
    int64_t begin;
    Tensor values;
  };
  // Writing to the values takes updated(), with all ranks.
  const std::vector<Piece>& pieces() const { return pieces_; }
  // By "NAME@begin".
  nn::StateDict named_pieces() const;
  void updated() { parameters_->updated(); }
  // The norm of the parameters of all ranks of this rank's copy. All ranks call it.
  double parameter_norm() const;
  // The parameters' shapes, by name.
  nn::StateDict whole_parameters() const { return optimizer_.whole_parameters(); }

  // "NAME.PARAMETER@begin" of the optimizer's state, and the steps that it has taken.
  nn::StateDict optimizer_state() const;
  int64_t steps() const { return steps_; }
  // `state(name, begin, size)` gives elements of the state that one process would have of
  // "exp_avg.PARAMETER", ...
  using Reader = std::function<Tensor(const std::string& name, int64_t begin, int64_t size)>;
  void load_optimizer_state(const Reader& state, int64_t steps);

  // Whole parameters while `call` runs, which may write to them. All ranks call it.
  void with_whole(const std::function<void()>& call);

  // Whether this rank's copy is the first.
  bool is_first_replica() const { return !groups_.replicate || groups_.replicate->rank() == 0; }
  ProcessGroup& shard_group() const { return *groups_.shard; }

 private:
  friend class ShardedPass;

  size_t find_blocks(nn::Module& module, const Tensors& parameters, std::vector<size_t>& unit_of);
  void cut_pieces(const std::vector<nn::NamedTensor>& named);
  size_t rest() const { return plan_->units().size() - 1; }

  std::shared_ptr<ProcessGroup> world_;
  ShardGroups groups_;
  int64_t dp_shard_;
  nn::Optimizer& optimizer_;
  std::unique_ptr<nn::FlatLayout> layout_;
  std::unordered_map<const nn::Module*, size_t> blocks_;  // their units
  std::unique_ptr<ShardPlan> plan_;
  std::unique_ptr<ParameterShards> parameters_;
  std::unique_ptr<GradientShards> gradients_;
  std::vector<Piece> pieces_;
  Tensors piece_gradients_;  // views of the sums
  int64_t steps_ = 0;
  double exposed_before_ = 0;  // of the parameters, at begin_step()
};

// While one lives, on all ranks at once, this thread may use the module, and no other observer.
class ShardedPass : public nn::BlockObserver {
 public:
  enum class Kind { Training, Evaluation };

  ShardedPass(ShardedTraining& training, Kind kind);
  ~ShardedPass() override;

  // The backward pass of a micro-batch of begin_step().
  void backward(const Tensor& loss);

  void enter(const nn::Module& module) override;
  void leave(const nn::Module& module, const Tensor& output) override;

 private:
  void use(size_t unit);

  ShardedTraining& training_;
  Kind kind_;
  bool backward_ = false;
};

}  // namespace plinth::distributed
