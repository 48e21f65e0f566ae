#pragma once

// Pipeline and expert parallelism of a language model, beside all others:
//
//   ModelParallel parallel(model, world, device, {.sizes = {.pp = 2, .tp = 2}});   cuts the model
//   model.to(device);
//   nn::AdamW optimizer(nn::decay_matrices(model, 0.1));                 of what is left
//   parallel.make_gradients(optimizer);
//   Trainer trainer(model, loss, optimizer, schedule, data,
//                   {.group = world, .shards = parallel.shards(), .plan = &parallel});
//
// The world is distributed::training_mesh(): axes pp, dp, ep, cp and tp, in this order. Ranks that
// differ along pp have different blocks and the same micro-batches. Ranks that differ along dp or
// ep have different micro-batches; those of an ep group share out the experts of their blocks, and
// have copies of all else, so that no micro-batch is computed twice. Ranks that differ along cp
// have parts of the sequences of a micro-batch, those along tp parts of the layers: inside a stage
// that is distributed::LayerPlan, and stages pass on what a rank has. Gradients of experts are
// added over dp and cp, all others over dp, ep and cp; those of an embedding that is the output
// projection, too, over the two stages that use it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distributed/data_parallel.h"
#include "distributed/gradient_set.h"
#include "distributed/mesh.h"
#include "distributed/pipeline/executor.h"
#include "distributed/placement.h"
#include "distributed/tensor/plan.h"
#include "models/language_model.h"
#include "train/step_plan.h"

namespace plinth {

struct ModelParallelOptions {
  distributed::ParallelSizes sizes;
  bool sequence = false;  // LayerPlanOptions has these two
  distributed::ContextAlgorithm algorithm = distributed::ContextAlgorithm::Gather;
  distributed::PipelineKind schedule = distributed::PipelineKind::OneForwardOneBackward;
  int chunks = 1;  // pieces of the model a stage, of the interleaved schedule
  distributed::DataParallelOptions data_parallel = {};
};

// Whether `ranks`, and the model, can be shared so. Throws Error(Config) naming the key of
// `plinth pretrain` that does not fit: parallel.pp, parallel.ep, parallel.tp, parallel.schedule or
// parallel.chunks.
void check_model_parallel(const ModelParallelOptions& options, int ranks,
                          const LanguageModelInfo& model, bool activation_checkpointing);

class ModelParallel : public StepPlan {
 public:
  // All ranks of the world call it, with the same weights and options. Throws what
  // check_model_parallel() and share_model() do. The model outlives this.
  ModelParallel(LanguageModel& model, const std::shared_ptr<distributed::ProcessGroup>& world,
                Device device, const ModelParallelOptions& options);

  // Once the model is on its device: before the first step. With ZeRO stage 1, data_parallel's
  // `sharded`, the optimizer is left its rank's slices. It outlives this.
  void make_gradients(nn::Optimizer& optimizer);

  // How parameters are cut by tp; null without. What is whole or loaded below is of these parts.
  const distributed::ParameterParts* shards() const {
    return layers_ ? layers_->shards() : nullptr;
  }
  const distributed::ProcessGroup& data_group() const override { return *data_; }
  void run(const Step& step, BatchSource& data, std::vector<double>& losses) override;
  double grad_norm() const override;
  void step(double factor) override;
  double exposed_seconds() const override;
  void agree_on_weights() const override;
  nn::StateDict own_parameters() const override { return placement_->own_parameters(); }
  nn::StateDict gather_state() override;
  void load_state(const nn::StateDict& whole) override;
  nn::StateDict gather(const nn::StateDict& own) override;
  void load_weights(const std::function<void()>& load) override;

  // Of all blocks and experts, on the first rank of those with the same part of layers, on the CPU.
  // All ranks call it.
  nn::StateDict gather_weights() const { return placement_->gather_weights(); }
  // The mean loss of a batch, on all ranks, which call it with the same one; without a graph.
  Tensor evaluate(const Tensor& ids, const Tensor& targets);

 private:
  struct Blocks {
    int64_t first, count;
  };

  // Parameters that the ranks of a group have, whose gradients these add.
  struct Part {
    std::shared_ptr<distributed::ProcessGroup> group;
    Tensors parameters = {};
    std::unique_ptr<distributed::GradientSet> gradients = {};
    bool counts = true;  // in the norm: no stage before has it
  };
  // Of one of this rank's pieces: what all ranks of an ep group have, this rank's experts, and an
  // embedding that the last piece has as the output projection. That one is by itself, so that
  // ZeRO cuts it alike on both stages.
  struct Piece {
    Part shared, experts, tied;
    std::vector<Part*> parts() { return {&shared, &experts, &tied}; }
  };

  Blocks blocks_of(int piece) const;
  // Spreads the experts of the piece's blocks.
  Piece make_piece(int piece);
  void add_block(Piece& piece, nn::Module& block);
  void share_layers();
  void place();
  void join_ends();
  // Between pieces go activations and, where training counts it, the sum of the blocks' loads.
  Tensors forward(int piece, const Tensors& x, const Batch& batch);
  Piece& own_piece(int piece) { return pieces_[static_cast<size_t>(piece / options_.sizes.pp)]; }
  void add_shared(Piece& piece, const Tensor& parameter) const;

  LanguageModel& model_;
  ModelParallelOptions options_;
  Device device_;
  distributed::DeviceMesh mesh_;
  std::shared_ptr<distributed::ProcessGroup> data_;     // dp and ep
  std::shared_ptr<distributed::ProcessGroup> shared_;   // and cp: ranks of a stage
  std::shared_ptr<distributed::ProcessGroup> experts_;  // dp and cp
  std::shared_ptr<distributed::ProcessGroup> ends_;     // first and last stage, of a tied embedding
  std::shared_ptr<const distributed::LayerPlan> layers_;  // null without tp and cp
  distributed::PipelineExecutor pipeline_;
  std::vector<std::string> order_;  // of all parameters in an optimizer
  std::vector<Piece> pieces_;       // this rank's
  std::vector<Part*> parts_;        // of these
  nn::Optimizer* optimizer_ = nullptr;
  std::optional<distributed::ShardedUpdate> update_;  // of parts_, with ZeRO
  std::optional<distributed::Placement> placement_;   // of ranks with the same part of layers
};

}  // namespace plinth
