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
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "kernels/optimizer/optimizer_cuda.h"
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
  static constexpr const char* kSteps = "steps";  // the name of the last
  // Replaces the state; on Error(Shape), which lists the names that do not fit, nothing is changed.
  void load_state_dict(const StateDict& saved);

  // ---- parts of parameters, where ranks share the work (distributed/zero.h) ----

  // Elements [begin, begin + values.numel()) of a parameter in row-major order, as a leaf of its
  // own.
  struct Part {
    int64_t begin = 0;
    Tensor values;
  };
  // From now on steps only these parts of each parameter, with the parts' own gradients; state is
  // kept, and named, by part. The same bits as the whole step. Throws Error(Argument) for an
  // algorithm or a rounding that looks at more than one element at a time, or after a step.
  void keep_parts(const std::function<std::vector<Part>(const Tensor& parameter)>& parts);
  // "NAME@begin", as the state of a part is named.
  static std::string part_name(std::string_view parameter, int64_t begin);
  // The parameters as they were given, in the order of state_dict()'s `steps`.
  const std::vector<NamedTensor>& whole_parameters() const { return whole_; }
  // What each parameter has in state_dict(), by name: "exp_avg", ...
  std::vector<std::string> state_names() const;
  // Whether an element's update depends on that element alone.
  virtual bool is_elementwise() const { return false; }

  // ---- the same step, with its numbers in a GPU's memory ----
  //
  // What changes from one step to the next (learning rate, bias corrections, rounding keys), and
  // whether a step counts at all, the kernels can read from device memory, so that a CUDA graph of
  // the step is captured once and replayed:
  //
  //   scalars = optimizer.next_scalars(grad_scale);       before each step; to be copied there
  //   optimizer.step_on_device({scalars, verdict});       launches the kernels
  //   if (accepted) optimizer.count_step();               when the host knows the verdict
  //
  // The same bits as step(grad_scale * the verdict's factor), or as no step at all.
  using DeviceScalars = kernels::cuda::OptimizerScalars;
  using DeviceInputs = kernels::cuda::StepInputs;

  // Whether this optimizer can; parameters must be on a GPU.
  virtual bool steps_on_device() const { return false; }
  // One entry for each group of parameters that are stepped together, in a fixed order.
  std::vector<DeviceScalars> next_scalars(double grad_scale);
  // inputs.scalars points to the entries of next_scalars(), in device memory. Throws
  // Error(Argument) unless steps_on_device().
  void step_on_device(const DeviceInputs& inputs);
  void count_step();

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
    int64_t steps = 0;       // of this parameter
    bool has_state = false;  // made by the first step, which a GPU may then skip
    Tensor master;           // float32, of a narrow parameter
    Tensors state;           // as states_of says, in compute_dtype()
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
  // On a GPU what `inputs` points to stands in for the bucket's numbers and grad_scale.
  virtual void update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) = 0;
  virtual DeviceScalars scalars(const Bucket& bucket, double grad_scale) const;

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
  void make_states(const Bucket& bucket) const;
  static void count(const Bucket& bucket);

  std::vector<Slot> slots_;
  std::vector<NamedTensor> whole_;
  double lr_;
  NarrowUpdate narrow_;
  uint64_t seed_;
};

// float64 for itself, float32 for every narrower float.
DType compute_dtype(DType dtype);

}  // namespace plinth::nn
