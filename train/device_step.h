#pragma once

// An optimizer step on a GPU that the host gives away whole: micro-batches, gradients, their norm,
// the verdict on the step, and the update follow each other on the device, and the host waits once,
// at the end, for loss and norm.
//
// All that differs from step to step lies in the device's memory: tokens, the step's number and
// samples for random masks, learning rate and bias corrections, the largest loss. The host writes
// them to pinned memory, and one copy brings them over. So after a few steps, in which libraries
// and the allocator settle, the step is captured as a CUDA graph, and is then one call. A step has
// the same bits with and without the graph.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/autocast.h"
#include "core/cuda/graph.h"
#include "core/cuda/staging.h"
#include "core/tensor.h"
#include "nn/gradient_tree.h"
#include "nn/optim/optimizer.h"
#include "train/batch_source.h"

namespace plinth {

class DeviceStep {
 public:
  // What the step works with; they must outlive it, and keep their memory.
  struct Parts {
    std::function<Tensor(const Batch&)> loss;
    nn::FlatGradients& gradients;
    nn::GradientTree& tree;
    nn::Optimizer& optimizer;  // steps_on_device()
  };
  struct Options {
    Device device;
    int64_t micro_batches = 1;  // of a step
    int64_t micro_batch = 1;    // samples
    double clip_norm = 0;
    DType precision = DType::Float32;
    bool graph = true;
  };
  // What the next step is given. The optimizer's learning rate is set before.
  struct Task {
    uint64_t step = 0;           // steps done before
    std::vector<Batch> batches;  // on the CPU, one a micro-batch
    double loss_limit = 0;       // a larger loss is not accepted
  };
  using Verdict = kernels::cuda::StepVerdict;

  DeviceStep(Parts parts, const Options& options);

  // Updates the weights if the verdict accepts the step; the optimizer's count_step() is the
  // caller's. Waits for the device.
  Verdict run(const Task& task);

  // What there is to say about the graph: once it is known whether there is one, then "".
  std::string take_note();

 private:
  using Scalars = nn::Optimizer::DeviceScalars;

  void write_inputs(const Task& task);
  bool fits(const std::vector<Batch>& batches) const;
  void lay_out(const std::vector<Batch>& batches, size_t scalars);
  void capture();
  void enqueue();
  void enqueue_gradients();
  void enqueue_micro_batch(int64_t i);
  void judge(const Tensor& sums) const;
  double share() const { return 1.0 / static_cast<double>(options_.micro_batches); }

  Parts parts_;
  Options options_;
  // The inputs, and where they lie in bytes: the largest loss, a place for random keys and the
  // tensors of each micro-batch, the optimizer's scalars.
  std::optional<cuda::Staging> inputs_;
  size_t loss_limit_at_ = 0, places_at_ = 0, scalars_at_ = 0;
  std::vector<Batch> batches_;  // views of the device's side
  Tensor losses_;               // float64 [micro_batches]
  cuda::Staging verdict_;
  std::vector<AutocastCache::Conversion> weights_;  // that the last step converted
  int64_t eager_steps_ = 0;                         // since the inputs were laid out
  std::optional<cuda::CapturedGraph> graph_;
  std::string note_;
};

}  // namespace plinth
