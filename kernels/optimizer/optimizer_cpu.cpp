#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/optimizer/parameter_io.h"

namespace plinth::kernels::cpu {

template <class P, class G>
void adamw_step(OptimizerTensors<P, G> tensors, const AdamWOptions& options) {
  using C = compute_t<P>;
  const double step = static_cast<double>(options.step);
  const double correction1 = 1 - std::pow(options.beta1, step);
  const double correction2 = 1 - std::pow(options.beta2, step);
  const C decay = static_cast<C>(1 - options.lr * options.weight_decay);
  const C step_size = static_cast<C>(-options.lr / correction1);
  const C root2 = static_cast<C>(1 / std::sqrt(correction2));
  const C beta2 = static_cast<C>(options.beta2);
  const C one_minus_beta1 = static_cast<C>(1 - options.beta1);
  const C one_minus_beta2 = static_cast<C>(1 - options.beta2);
  const C eps = static_cast<C>(options.eps);
  const C scale = static_cast<C>(options.grad_scale);
  for_each_strip(tensors, options.rounding,
                 [=](int64_t n, C* p, const C* gradient, C* m, C* v, int64_t, int64_t) {
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) {
                     const C g = gradient[i] * scale;
                     m[i] += one_minus_beta1 * (g - m[i]);
                     v[i] = v[i] * beta2 + one_minus_beta2 * g * g;
                     const C denominator = std::sqrt(v[i]) * root2 + eps;
                     p[i] = p[i] * decay + step_size * m[i] / denominator;
                   }
                 });
}

template <class P, class G>
void sgd_step(OptimizerTensors<P, G> tensors, const SgdOptions& options) {
  using C = compute_t<P>;
  const C lr = static_cast<C>(options.lr);
  const C momentum = static_cast<C>(options.momentum);
  const C weight_decay = static_cast<C>(options.weight_decay);
  const C scale = static_cast<C>(options.grad_scale);
  const bool nesterov = options.nesterov;
  for_each_strip(tensors, options.rounding,
                 [=](int64_t n, C* p, const C* gradient, C* m, C*, int64_t, int64_t) {
                   if (momentum == 0) {
#pragma omp simd
                     for (int64_t i = 0; i < n; ++i) {
                       p[i] -= lr * (gradient[i] * scale + weight_decay * p[i]);
                     }
                     return;
                   }
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) {
                     const C g = gradient[i] * scale + weight_decay * p[i];
                     const C mean = momentum * m[i] + g;
                     m[i] = mean;
                     p[i] -= lr * (nesterov ? g + momentum * mean : mean);
                   }
                 });
}

template <class P, class G>
void lion_step(OptimizerTensors<P, G> tensors, const LionOptions& options) {
  using C = compute_t<P>;
  const C lr = static_cast<C>(options.lr);
  const C beta1 = static_cast<C>(options.beta1);
  const C beta2 = static_cast<C>(options.beta2);
  const C one_minus_beta1 = static_cast<C>(1 - options.beta1);
  const C one_minus_beta2 = static_cast<C>(1 - options.beta2);
  const C decay = static_cast<C>(1 - options.lr * options.weight_decay);
  const C scale = static_cast<C>(options.grad_scale);
  for_each_strip(tensors, options.rounding,
                 [=](int64_t n, C* p, const C* gradient, C* m, C*, int64_t, int64_t) {
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) {
                     const C g = gradient[i] * scale;
                     const C direction = beta1 * m[i] + one_minus_beta1 * g;
                     const C up = direction > 0 ? lr : C(0), down = direction < 0 ? lr : C(0);
                     p[i] = p[i] * decay - (up - down);
                     m[i] = beta2 * m[i] + one_minus_beta2 * g;
                   }
                 });
}

template <class P, class G>
void muon_momentum(OptimizerTensors<P, G> tensors, std::span<compute_t<P>* const> updates,
                   const MuonOptions& options) {
  using C = compute_t<P>;
  const C momentum = static_cast<C>(options.momentum);
  const C one_minus_momentum = static_cast<C>(1 - options.momentum);
  const C scale = static_cast<C>(options.grad_scale);
  const C look_ahead = options.nesterov ? momentum : C(1);
  for_each_range(
      static_cast<int64_t>(tensors.size()), [&](int64_t t) { return tensors[t].n; },
      [&](int64_t t, int64_t begin, int64_t end) {
        const G* gradient = tensors[t].gradient;
        C* m = tensors[t].exp_avg;
        C* update = updates[t];
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
          const C g = static_cast<C>(gradient[i]) * scale;
          const C mean = m[i] + one_minus_momentum * (g - m[i]);
          m[i] = mean;
          update[i] = g + look_ahead * (mean - g);
        }
      });
}

template <class P, class G>
void muon_update(OptimizerTensors<P, G> tensors, std::span<const compute_t<P>* const> updates,
                 const MuonOptions& options) {
  using C = compute_t<P>;
  const C lr = static_cast<C>(options.lr);
  const C decay = static_cast<C>(1 - options.lr * options.weight_decay);
  for_each_strip(tensors, options.rounding,
                 [=](int64_t n, C* p, const C*, C*, C*, int64_t t, int64_t first) {
                   const C* update = updates[t] + first;
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) p[i] = p[i] * decay - lr * update[i];
                 });
}

#define INSTANTIATE(P, G)                                                                 \
  template void adamw_step(OptimizerTensors<P, G>, const AdamWOptions&);                  \
  template void sgd_step(OptimizerTensors<P, G>, const SgdOptions&);                      \
  template void lion_step(OptimizerTensors<P, G>, const LionOptions&);                    \
  template void muon_momentum(OptimizerTensors<P, G>, std::span<compute_t<P>* const>,     \
                              const MuonOptions&);                                        \
  template void muon_update(OptimizerTensors<P, G>, std::span<const compute_t<P>* const>, \
                            const MuonOptions&);
PLINTH_FOR_EACH_OPTIMIZER(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
