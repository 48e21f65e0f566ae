#include "nn/optim/sgd.h"

#include "nn/optim/multi_tensor.h"

namespace plinth::nn {

Sgd::Sgd(const std::vector<ParameterGroup>& groups, const SgdOptions& options)
    : Optimizer("SGD", groups, options.lr, options.weight_decay, options.narrow, options.seed),
      options_(options) {
  check_option("momentum", options.momentum, 0, 1);
  check(!options.nesterov || options.momentum > 0, ErrorKind::Argument, "SGD",
        "nesterov needs a momentum above 0");
}

std::vector<Optimizer::State> Sgd::states_of(const Slot& slot) const {
  if (options_.momentum == 0) return {};
  return {{"momentum_buffer", slot.parameter.shape()}};
}

kernels::cpu::SgdOptions Sgd::step_options(const Bucket& bucket, double grad_scale) const {
  return {.lr = bucket.lr,
          .momentum = options_.momentum,
          .nesterov = options_.nesterov,
          .weight_decay = bucket.weight_decay,
          .grad_scale = grad_scale,
          .rounding = rounding_of(narrow(), seed(), bucket.step, bucket.number)};
}

Optimizer::DeviceScalars Sgd::scalars(const Bucket& bucket, double grad_scale) const {
  return device_scalars(step_options(bucket, grad_scale));
}

void Sgd::update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) {
  const kernels::cpu::SgdOptions options = step_options(bucket, grad_scale);
  for_step(step_tensors(bucket.parameter_dtype, bucket.gradient_dtype, bucket.slots),
           [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> tensors) {
             PLINTH_RUN_STEP(bucket.slots[0]->parameter, inputs, sgd_step, tensors, options);
           });
}

}  // namespace plinth::nn
