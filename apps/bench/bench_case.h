#pragma once

// What `plinth bench` measures: each case is run again and again, and gives its times.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/dtype.h"
#include "models/model_size.h"

namespace plinth::apps {

// Parts of one repetition and their milliseconds: {"forward_ms", 1.5}, {"backward_ms", 3.1}.
using BenchTimes = std::vector<std::pair<std::string, double>>;

// The least that a part of a repetition must move and compute, as the kernel's contract counts it.
struct PassCost {
  double bytes = 0;
  double flops = 0;
};

class BenchCase {
 public:
  virtual ~BenchCase() = default;
  // What is not timed: new inputs, old gradients let go.
  virtual void prepare() = 0;
  virtual BenchTimes run() = 0;
  // Tokens of one repetition, to tell tokens/s; 0 if there are none.
  virtual int64_t tokens() const { return 0; }
  // Operations of one repetition; 0 if not counted.
  virtual double flops() const { return 0; }
};

struct TrainBench {
  ModelSize size;
  int64_t batch = 8;
  int64_t micro_batch = 0;
  DType precision = DType::Float32;  // bfloat16: by autocast
  bool activation_checkpointing = false;
  Device device;
};

// A whole training step: forward, mean cross-entropy, backward, gradients clipped to norm 1, AdamW
// with decay on matrices only. Ids are random, and new for each step.
std::unique_ptr<BenchCase> make_train_case(const TrainBench& bench);

struct ModelBench {
  std::string config;  // a config.json, or the directory that has it
  int64_t batch = 8;
  int64_t time = 128;  // tokens of a text
  Device device;
};

// The same without clipping, of a model of any family with random weights, on what it takes: ids of
// texts, images, or features of sound. Throws what reading the file does, Error(Argument) for a
// family without one loss.
std::unique_ptr<BenchCase> make_model_case(const ModelBench& bench);

// ---- ops ----

enum class BenchPass { Forward, Backward, Both };

// An op on its inputs. Those of floating point get gradients.
struct DifferentiableOp {
  std::function<Tensors(const Tensors&)> op;
  Tensors inputs;
  PassCost forward;
  PassCost backward;
};
// A step over parameters, or whatever else has no gradient.
struct PlainOp {
  std::function<void()> run;
  PassCost forward;
};

using OpSizes = std::vector<int64_t>;

// What costs are counted in: the elements of a tensor of these sizes, and the bytes of one.
inline double elements(const OpSizes& sizes) {
  double product = 1;
  for (const int64_t size : sizes) product *= static_cast<double>(size);
  return product;
}
inline double element_bytes(TensorOptions options) {
  return static_cast<double>(size_of(options.dtype));
}

struct OpBench {
  std::string_view name;
  std::string_view dimensions;  // what --shape holds: "batch,heads,time,head_dim"
  OpSizes default_shape;
  // One of the two; inputs are random.
  std::function<DifferentiableOp(const OpSizes&, TensorOptions)> make;
  std::function<PlainOp(const OpSizes&, TensorOptions)> make_plain = {};
  // Which kernel serves it, and why, in a line; for ops with several.
  std::function<std::string(const OpSizes&, TensorOptions)> explain = {};
};

std::vector<OpBench> attention_benches();

// Every kernel of kernels/ that an op calls.
const std::vector<OpBench>& op_benches();

class OpCase : public BenchCase {
 public:
  // Of "forward_ms" and "backward_ms", where the case has it.
  virtual PassCost cost(std::string_view part) const = 0;
};

// Throws Error(Argument) for a shape of other dimensions.
void check_shape(const OpBench& op, const OpSizes& shape);
// The same, and for a pass that the op has not.
std::unique_ptr<OpCase> make_op_case(const OpBench& op, const OpSizes& shape, BenchPass pass,
                                     TensorOptions options);

}  // namespace plinth::apps
