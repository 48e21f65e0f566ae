#pragma once

// How the optimizers read and write parameters: a strip at a time, from the master weights where
// there are any, widened to the compute type otherwise.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/tensor_list.h"
#include "kernels/rows.h"

namespace plinth::kernels::cpu {

inline constexpr int64_t kOptimizerStrip = 512;

// Rounds to one of the two neighbours with probability proportional to nearness: 16 random bits are
// added below the last kept bit. Infinities and NaN stay.
inline BFloat16 round_stochastically(float value, uint32_t random16) {
  if (!std::isfinite(value)) return BFloat16(value);
  BFloat16 result;
  result.bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(value) + random16) >> 16);
  return result;
}

inline void narrow_stochastically(const Philox2& stream, int64_t sample, int64_t first, int64_t n,
                                  const float* x, BFloat16* out) {
  for (int64_t i = 0; i < n;) {
    const int64_t element = first + i, block = element / 8;
    const Philox4 words = philox(stream, sample, block);
    for (int64_t k = element % 8; k < 8 && i < n; ++k, ++i) {
      out[i] = round_stochastically(x[i], (words[k / 2] >> (16 * (k % 2))) & 0xffffu);
    }
  }
}

// Calls update(n, parameter, gradient, exp_avg, exp_avg_sq, tensor, first) over strips of all
// tensors: `parameter` is C to be updated in place, `gradient` const C (not yet scaled), the state
// pointers are null where the tensor's are; `first` is the strip's first element in its tensor.
template <class P, class G, class Update>
void for_each_strip(OptimizerTensors<P, G> tensors, const StochasticRounding& rounding,
                    Update&& update) {
  using C = compute_t<P>;
  const Philox2 stream = philox_stream(rounding.key);
  const auto strip = [&](int64_t t, int64_t first, int64_t n) {
    const OptimizerTensor<P, G>& tensor = tensors[t];
    C gradient_buffer[kOptimizerStrip], parameter_buffer[kOptimizerStrip];
    const C* gradient;
    if constexpr (std::is_same_v<G, C>) {
      gradient = tensor.gradient + first;
    } else {
      widen(n, tensor.gradient + first, gradient_buffer);
      gradient = gradient_buffer;
    }
    C* parameter = parameter_buffer;
    if constexpr (is_wide<P>) {
      parameter = tensor.parameter + first;
    } else if (tensor.master) {
      parameter = tensor.master + first;
    } else {
      widen(n, tensor.parameter + first, parameter_buffer);
    }
    update(n, parameter, gradient, tensor.exp_avg ? tensor.exp_avg + first : nullptr,
           tensor.exp_avg_sq ? tensor.exp_avg_sq + first : nullptr, t, first);
    if constexpr (std::is_same_v<P, BFloat16>) {
      if (rounding.enabled && !tensor.master) {
        narrow_stochastically(stream, rounding.key.sample + t, first, n, parameter,
                              tensor.parameter + first);
        return;
      }
    }
    if constexpr (!is_wide<P>) narrow(n, parameter, tensor.parameter + first);
  };
  for_each_range(
      static_cast<int64_t>(tensors.size()), [&](int64_t t) { return tensors[t].n; },
      [&](int64_t t, int64_t begin, int64_t end) {
        for (int64_t first = begin; first < end; first += kOptimizerStrip) {
          strip(t, first, std::min(kOptimizerStrip, end - first));
        }
      });
}

#define PLINTH_FOR_EACH_OPTIMIZER(X) \
  X(double, double)                  \
  X(float, float)                    \
  X(BFloat16, BFloat16) X(BFloat16, float) X(Float16, Float16) X(Float16, float)

}  // namespace plinth::kernels::cpu
