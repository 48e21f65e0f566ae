#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/optimizer/update.h"

namespace plinth::kernels::cpu {

template <class P, class G>
void adamw_step(OptimizerTensors<P, G> tensors, const AdamWOptions& options) {
  using C = compute_t<P>;
  const double step = static_cast<double>(options.step);
  const double correction1 = 1 - std::pow(options.beta1, step);
  const double correction2 = 1 - std::pow(options.beta2, step);
  const C decay = static_cast<C>(1 - options.lr * options.weight_decay);
  const C step_size = static_cast<C>(-options.lr / correction1);
  const C inverse_root2 = static_cast<C>(1 / std::sqrt(correction2));
  const C beta2 = static_cast<C>(options.beta2);
  const C one_minus_beta1 = static_cast<C>(1 - options.beta1);
  const C one_minus_beta2 = static_cast<C>(1 - options.beta2);
  const C eps = static_cast<C>(options.eps);
  const C scale = static_cast<C>(options.grad_scale);
  update_all(tensors, options.rounding, [=](int64_t t) {
    C *exp_avg = tensors[t].exp_avg, *exp_avg_sq = tensors[t].exp_avg_sq;
    return [=](auto p, auto gradient, int64_t j, auto part) PLINTH_INLINE_LAMBDA {
      const auto g = gradient * scale;
      auto m = load(exp_avg + j, part);
      auto v = load(exp_avg_sq + j, part);
      m += one_minus_beta1 * (g - m);
      v = v * beta2 + one_minus_beta2 * g * g;
      store(exp_avg + j, m, part);
      store(exp_avg_sq + j, v, part);
      return p * decay + step_size * m / (square_root(v) * inverse_root2 + eps);
    };
  });
}

template <class P, class G>
void sgd_step(OptimizerTensors<P, G> tensors, const SgdOptions& options) {
  using C = compute_t<P>;
  const C lr = static_cast<C>(options.lr);
  const C momentum = static_cast<C>(options.momentum);
  const C weight_decay = static_cast<C>(options.weight_decay);
  const C scale = static_cast<C>(options.grad_scale);
  if (momentum == 0) {
    update_all(tensors, options.rounding, [=](int64_t) {
      return [=](auto p, auto gradient, int64_t, auto)
                 PLINTH_INLINE_LAMBDA { return p - lr * (gradient * scale + weight_decay * p); };
    });
    return;
  }
  // The step is along a g + b m: g + momentum m with nesterov, m without.
  const C a = options.nesterov ? 1 : 0;
  const C b = options.nesterov ? momentum : C(1);
  update_all(tensors, options.rounding, [=](int64_t t) {
    C* exp_avg = tensors[t].exp_avg;
    return [=](auto p, auto gradient, int64_t j, auto part) PLINTH_INLINE_LAMBDA {
      const auto g = gradient * scale + weight_decay * p;
      const auto m = momentum * load(exp_avg + j, part) + g;
      store(exp_avg + j, m, part);
      return p - lr * (a * g + b * m);
    };
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
  update_all(tensors, options.rounding, [=](int64_t t) {
    C* exp_avg = tensors[t].exp_avg;
    return [=](auto p, auto gradient, int64_t j, auto part) PLINTH_INLINE_LAMBDA {
      const auto g = gradient * scale;
      const auto m = load(exp_avg + j, part);
      const auto direction = beta1 * m + one_minus_beta1 * g;
      const auto zero = decltype(p){};
      const auto step = (direction > 0 ? zero + lr : zero) - (direction < 0 ? zero + lr : zero);
      store(exp_avg + j, beta2 * m + one_minus_beta2 * g, part);
      return p * decay - step;
    };
  });
}

template <class P, class G>
void muon_momentum(OptimizerTensors<P, G> tensors, std::span<compute_t<P>* const> updates,
                   const MuonOptions& options) {
  using C = compute_t<P>;
  const C one_minus_momentum = static_cast<C>(1 - options.momentum);
  const C scale = static_cast<C>(options.grad_scale);
  const C look_ahead = options.nesterov ? static_cast<C>(options.momentum) : C(1);
  for_each_range(
      static_cast<int64_t>(tensors.size()), [&](int64_t t) { return tensors[t].n; },
      [&](int64_t t, int64_t begin, int64_t end) {
        const G* gradient = tensors[t].gradient + begin;
        C* exp_avg = tensors[t].exp_avg + begin;
        C* update = updates[t] + begin;
        for_vectors<C>(end - begin, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
          const auto g = load(gradient + j, part) * scale;
          auto m = load(exp_avg + j, part);
          m += one_minus_momentum * (g - m);
          store(exp_avg + j, m, part);
          store(update + j, g + look_ahead * (m - g), part);
        });
      });
}

template <class P, class G>
void muon_update(OptimizerTensors<P, G> tensors, std::span<const compute_t<P>* const> updates,
                 const MuonOptions& options) {
  using C = compute_t<P>;
  const C lr = static_cast<C>(options.lr);
  const C decay = static_cast<C>(1 - options.lr * options.weight_decay);
  update_all(tensors, options.rounding, [=](int64_t t) {
    const C* update = updates[t];
    return [=](auto p, auto, int64_t j, auto part)
               PLINTH_INLINE_LAMBDA { return p * decay - lr * load(update + j, part); };
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
INSTANTIATE(double, double)
INSTANTIATE(float, float)
INSTANTIATE(BFloat16, BFloat16)
INSTANTIATE(BFloat16, float)
INSTANTIATE(Float16, Float16)
INSTANTIATE(Float16, float)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
