#pragma once

// How the optimizers read and write parameters: from the master weights where there are any,
// rounded to the parameter's type to nearest or stochastically.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/tensor_list.h"
#include "kernels/philox_simd.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

// Rounds each value to one of its two neighbours in bfloat16 with probability proportional to
// nearness: 16 random bits are added below the last kept bit. Infinities and NaN stay.
PLINTH_INLINE void store_stochastically(BFloat16* p, Vec<float> v, const uint16_t* random,
                                        auto part) {
  typename detail::VectorOf<uint16_t, kLanes<float>>::type bits;
  std::memcpy(&bits, random, sizeof bits);
  const VecU32 u = std::bit_cast<VecU32>(v);
  const VecU32 rounded = (u + __builtin_convertvector(bits, VecU32)) & 0xffff0000u;
  const auto finite = (u & 0x7f800000u) != 0x7f800000u;
  store(p, std::bit_cast<Vec<float>>(finite ? rounded : u), part);  // exact, but for NaN's payload
}

// p = rule(p, g, j, part) over elements [begin, end), in full precision where `master` holds it.
template <class P, class G, class Rule>
PLINTH_INLINE void update_range(const OptimizerTensor<P, G>& tensor, int64_t begin, int64_t end,
                                Rule&& rule) {
  using C = compute_t<P>;
  const G* gradient = tensor.gradient + begin;
  P* parameter = tensor.parameter + begin;
  if constexpr (!std::is_same_v<P, C>) {
    if (C* master = tensor.master) {
      master += begin;
      for_vectors<C>(end - begin, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
        const auto p = rule(load(master + j, part), load(gradient + j, part), begin + j, part);
        store(master + j, p, part);
        store(parameter + j, p, part);
      });
      return;
    }
  }
  for_vectors<C>(end - begin, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    store(parameter + j, rule(load(parameter + j, part), load(gradient + j, part), begin + j, part),
          part);
  });
}

// The same for bfloat16 parameters that are rounded stochastically. begin is a multiple of 64.
template <class G, class Rule>
PLINTH_INLINE void update_range_stochastically(const OptimizerTensor<BFloat16, G>& tensor,
                                               int64_t begin, int64_t end, const Philox2& stream,
                                               int64_t sample, Rule&& rule) {
  constexpr int64_t kStrip = 512;
  uint32_t words[kStrip / 2 + 4 * kPhiloxLanes];
  for (; begin < end; begin += kStrip) {
    const int64_t n = std::min(kStrip, end - begin);
    philox_fill(stream, sample, begin / 8, (n + 7) / 8, words);
    const auto* random = reinterpret_cast<const uint16_t*>(words);
    const G* gradient = tensor.gradient + begin;
    BFloat16* parameter = tensor.parameter + begin;
    for_vectors<float>(n, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
      const auto p = rule(load(parameter + j, part), load(gradient + j, part), begin + j, part);
      store_stochastically(parameter + j, p, random + j, part);
    });
  }
}

// Applies make_rule(t), a function (p, g, j, part) -> new p on vectors of the compute type, to
// every tensor t; j is the vector's first element in the tensor.
template <class P, class G, class MakeRule>
void update_all(OptimizerTensors<P, G> tensors, const StochasticRounding& rounding,
                MakeRule&& make_rule) {
  const Philox2 stream = philox_stream(rounding.key);
  for_each_range(
      static_cast<int64_t>(tensors.size()), [&](int64_t t) { return tensors[t].n; },
      [&](int64_t t, int64_t begin, int64_t end) {
        const auto rule = make_rule(t);
        if constexpr (std::is_same_v<P, BFloat16>) {
          if (rounding.enabled && !tensors[t].master) {
            update_range_stochastically(tensors[t], begin, end, stream, rounding.key.sample + t,
                                        rule);
            return;
          }
        }
        update_range(tensors[t], begin, end, rule);
      });
}

}  // namespace plinth::kernels::cpu
