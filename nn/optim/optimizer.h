#pragma once

// What optimizers share: parameter groups, state by name, steps over many tensors at once.
//
//   nn::AdamW optimizer(nn::decay_matrices(model, 0.1), {.lr = 3e-4});
//   for each step:
//     loss.backward();
//     optimizer.set_lr(schedule.at(step));
//     optimizer.step(clip_factor(norm, 1.0));   // the factor is applied inside the kernel
//     optimizer.zero_grad();

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "nn/optim/groups.h"
#include "nn/state_dict.h"

namespace plinth::nn {

// How bfloat16 and float16 parameters take updates smaller than their spacing.
enum class NarrowUpdate {
  Master,      // the optimizer keeps each at float32 and stores its rounding
  Stochastic,  // rounded up or down at random, right on average (bfloat16 only); no copy is kept
  Nearest      // rounded to nearest: small updates are lost
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  double lr() const { return lr_; }
  void set_lr(double lr);

  // One step with grad_scale * gradient. Parameters without a gradient are left out of it, and of
  // the count of their own steps. Throws Error(DType) for a gradient that is neither of the
  // parameter's dtype nor float32.
  void step(double grad_scale = 1);
  void zero_grad(bool set_to_none = true);

  Tensors parameters() const;
  // Everything that a checkpoint needs to go on with the same bits: `exp_avg.NAME`, ... of each
  // parameter that has taken a step, `master.NAME` where kept, and `steps` [parameters] int64.
  StateDict state_dict() const;
  // Replaces the state; on Error(Shape), which lists the names that do not fit, nothing is changed.
  void load_state_dict(const StateDict& saved);

  // "AdamW".
  virtual std::string_view name() const = 0;

 protected:
  struct State {
    std::string_view name;
    Shape shape;
  };
  struct Slot {
    std::string name;
    Tensor parameter;
    double lr_scale;
    double weight_decay;
    size_t group;
    int64_t steps = 0;  // of this parameter
    Tensor master;      // float32, of a narrow parameter
    Tensors state;      // as states_of says, in compute_dtype()
  };
  // Slots that one call of a kernel can take together.
  struct Bucket {
    DType parameter_dtype, gradient_dtype;
    double lr, weight_decay;
    int64_t step;  // counts from 1
    size_t group;
    uint32_t number;  // within this call of step()
    std::vector<Slot*> slots;
  };

  Optimizer(std::string_view name, const std::vector<ParameterGroup>& groups, double lr,
            double weight_decay, NarrowUpdate narrow, uint64_t seed);

  // The tensors that a slot needs, all zeros at first.
  virtual std::vector<State> states_of(const Slot& slot) const = 0;
  virtual void update(const Bucket& bucket, double grad_scale) = 0;

  NarrowUpdate narrow() const { return narrow_; }
  uint64_t seed() const { return seed_; }
  // Throws Error(Argument) naming the option unless low <= value < high.
  void check_option(std::string_view option, double value, double low, double high) const;

 private:
  void add(const NamedTensor& parameter, const ParameterGroup& group, size_t number,
           double weight_decay, std::string_view name);
  void make_state(Slot& slot) const;
  static StateDict state_of(const std::vector<Slot>& slots, const Optimizer& optimizer);
  std::vector<Bucket> buckets();

  std::vector<Slot> slots_;
  double lr_;
  NarrowUpdate narrow_;
  uint64_t seed_;
};

// float64 for itself, float32 for every narrower float.
DType compute_dtype(DType dtype);

}  // namespace plinth::nn
