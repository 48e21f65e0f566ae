#pragma once

// What `plinth bench` measures: each case is run again and again, and gives its times.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/dtype.h"
#include "models/model_size.h"

namespace plinth::apps {

// Parts of one repetition and their milliseconds: {"forward_ms", 1.5}, {"backward_ms", 3.1}.
using BenchTimes = std::vector<std::pair<std::string, double>>;

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

struct OpBench {
  std::string_view name;
  std::string_view dimensions;  // what --shape holds: "batch,heads,time,head_dim"
  std::vector<int64_t> default_shape;
};

const std::vector<OpBench>& op_benches();

// An op of op_benches() on random inputs. Throws Error(Argument) for a shape of other dimensions.
std::unique_ptr<BenchCase> make_op_case(const OpBench& op, const std::vector<int64_t>& shape,
                                        TensorOptions options);

}  // namespace plinth::apps
