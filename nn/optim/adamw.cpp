#include "nn/optim/adamw.h"

#include <limits>

#include "nn/optim/multi_tensor.h"

namespace plinth::nn {

AdamW::AdamW(const std::vector<ParameterGroup>& groups, const AdamWOptions& options)
    : Optimizer("AdamW", groups, options.lr, options.weight_decay, options.narrow, options.seed),
      options_(options) {
  check_option("beta1", options.beta1, 0, 1);
  check_option("beta2", options.beta2, 0, 1);
  check_option("eps", options.eps, 0, std::numeric_limits<double>::infinity());
}

std::vector<Optimizer::State> AdamW::states_of(const Slot& slot) const {
  return {{"exp_avg", slot.parameter.shape()}, {"exp_avg_sq", slot.parameter.shape()}};
}

kernels::cpu::AdamWOptions AdamW::step_options(const Bucket& bucket, double grad_scale) const {
  return {.lr = bucket.lr,
          .beta1 = options_.beta1,
          .beta2 = options_.beta2,
          .eps = options_.eps,
          .weight_decay = bucket.weight_decay,
          .step = bucket.step,
          .grad_scale = grad_scale,
          .rounding = rounding_of(narrow(), seed(), bucket.step, bucket.number)};
}

Optimizer::DeviceScalars AdamW::scalars(const Bucket& bucket, double grad_scale) const {
  return device_scalars(step_options(bucket, grad_scale));
}

void AdamW::update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) {
  const kernels::cpu::AdamWOptions options = step_options(bucket, grad_scale);
  for_step(step_tensors(bucket.parameter_dtype, bucket.gradient_dtype, bucket.slots),
           [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> tensors) {
             PLINTH_RUN_STEP(bucket.slots[0]->parameter, inputs, adamw_step, tensors, options);
           });
}

}  // namespace plinth::nn
