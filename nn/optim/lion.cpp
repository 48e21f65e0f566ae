#include "nn/optim/lion.h"

#include "nn/optim/multi_tensor.h"

namespace plinth::nn {

Lion::Lion(const std::vector<ParameterGroup>& groups, const LionOptions& options)
    : Optimizer("Lion", groups, options.lr, options.weight_decay, options.narrow, options.seed),
      options_(options) {
  check_option("beta1", options.beta1, 0, 1);
  check_option("beta2", options.beta2, 0, 1);
}

std::vector<Optimizer::State> Lion::states_of(const Slot& slot) const {
  return {{"exp_avg", slot.parameter.shape()}};
}

kernels::cpu::LionOptions Lion::step_options(const Bucket& bucket, double grad_scale) const {
  return {.lr = bucket.lr,
          .beta1 = options_.beta1,
          .beta2 = options_.beta2,
          .weight_decay = bucket.weight_decay,
          .grad_scale = grad_scale,
          .rounding = rounding_of(narrow(), seed(), bucket.step, bucket.number)};
}

Optimizer::DeviceScalars Lion::scalars(const Bucket& bucket, double grad_scale) const {
  return device_scalars(step_options(bucket, grad_scale));
}

void Lion::update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) {
  const kernels::cpu::LionOptions options = step_options(bucket, grad_scale);
  for_step(step_tensors(bucket.parameter_dtype, bucket.gradient_dtype, bucket.slots),
           [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> tensors) {
             PLINTH_RUN_STEP(bucket.slots[0]->parameter, inputs, lion_step, tensors, options);
           });
}

}  // namespace plinth::nn
