#include "nn/optim/muon.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "nn/optim/multi_tensor.h"

namespace plinth::nn {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kSmallestNorm = 1e-7;

std::vector<ParameterGroup> joined(std::vector<ParameterGroup> a,
                                   const std::vector<ParameterGroup>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

double scale_of(MuonScale scale, const Shape& shape) {
  const double rows = static_cast<double>(shape[0]), columns = static_cast<double>(shape[1]);
  return scale == MuonScale::Original ? std::sqrt(std::max(1.0, rows / columns))
                                      : 0.2 * std::sqrt(std::max(rows, columns));
}

}  // namespace

Tensor newton_schulz(const Tensor& x, int64_t iterations) {
  check(x.dim() == 2, ErrorKind::Shape, "newton_schulz", "x has shape ", x.shape(),
        ", expected a matrix");
  const NoGradGuard no_grad;
  const bool tall = x.size(0) > x.size(1);
  const Tensor wide = tall ? x.detach().transpose(0, 1) : x.detach();
  Tensor y = wide / std::max(norm(wide).item(), kSmallestNorm);
  for (int64_t i = 0; i < iterations; ++i) {
    const Tensor gram = matmul(y, y.transpose(0, 1));
    Tensor polynomial = matmul(gram, gram).mul_(kC);
    polynomial.add_(gram, kB);
    Tensor next = matmul(polynomial, y);
    y = next.add_(y, kA);
  }
  return tall ? y.transpose(0, 1) : y;
}

Muon::Muon(const std::vector<ParameterGroup>& matrices, const std::vector<ParameterGroup>& others,
           const MuonOptions& options)
    : Optimizer("Muon", joined(matrices, others), options.lr, options.weight_decay, options.narrow,
                options.seed),
      options_(options),
      matrix_groups_(matrices.size()) {
  check_option("momentum", options.momentum, 0, 1);
  check_option("adamw_beta1", options.adamw_beta1, 0, 1);
  check_option("adamw_beta2", options.adamw_beta2, 0, 1);
  check_option("adamw_eps", options.adamw_eps, 0, std::numeric_limits<double>::infinity());
  check_option("iterations", static_cast<double>(options.iterations), 1, 100);
  for (const ParameterGroup& group : matrices) {
    for (const NamedTensor& entry : group.parameters) {
      check(entry.tensor.dim() == 2, ErrorKind::Shape, "Muon", "parameter ", entry.name,
            " has shape ", entry.tensor.shape(), ", expected a matrix");
    }
  }
}

std::vector<Optimizer::State> Muon::states_of(const Slot& slot) const {
  const Shape& shape = slot.parameter.shape();
  if (slot.group < matrix_groups_) return {{"momentum_buffer", shape}};
  return {{"exp_avg", shape}, {"exp_avg_sq", shape}};
}

void Muon::update(const Bucket& bucket, double grad_scale, const DeviceInputs&) {
  if (bucket.group < matrix_groups_) {
    update_matrices(bucket, grad_scale);
  } else {
    update_others(bucket, grad_scale);
  }
}

// One matrix at a time, so that only one update is in memory.
void Muon::update_matrices(const Bucket& bucket, double grad_scale) {
  kernels::cpu::MuonOptions options{
      .lr = bucket.lr,
      .momentum = options_.momentum,
      .nesterov = options_.nesterov,
      .weight_decay = bucket.weight_decay,
      .grad_scale = grad_scale,
      .rounding = rounding_of(narrow(), seed(), bucket.step, bucket.number)};
  for (Slot* slot : bucket.slots) {
    const DType dtype = compute_dtype(bucket.parameter_dtype);
    Tensor update = Tensor::empty(slot->parameter.shape(), {dtype, slot->parameter.device()});
    const StepTensors tensors =
        step_tensors(bucket.parameter_dtype, bucket.gradient_dtype, std::vector<Slot*>{slot});
    for_step(tensors, [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> list) {
      compute_t<P>* const updates[] = {update.data<compute_t<P>>()};
      PLINTH_RUN(update, muon_momentum, list, updates, options);
    });
    update = newton_schulz(update.to(options_.iteration_dtype), options_.iterations);
    update = update.to(dtype).contiguous();
    update.mul_(scale_of(options_.scale, slot->parameter.shape()));
    for_step(tensors, [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> list) {
      const compute_t<P>* const updates[] = {update.data<compute_t<P>>()};
      PLINTH_RUN(update, muon_update, list, updates, options);
    });
    ++options.rounding.key.sample;
  }
}

void Muon::update_others(const Bucket& bucket, double grad_scale) {
  const kernels::cpu::AdamWOptions options{
      .lr = bucket.lr,
      .beta1 = options_.adamw_beta1,
      .beta2 = options_.adamw_beta2,
      .eps = options_.adamw_eps,
      .weight_decay = bucket.weight_decay,
      .step = bucket.step,
      .grad_scale = grad_scale,
      .rounding = rounding_of(narrow(), seed(), bucket.step, bucket.number)};
  for_step(step_tensors(bucket.parameter_dtype, bucket.gradient_dtype, bucket.slots),
           [&]<class P, class G>(kernels::cpu::OptimizerTensors<P, G> tensors) {
             PLINTH_RUN(bucket.slots[0]->parameter, adamw_step, tensors, options);
           });
}

}  // namespace plinth::nn
