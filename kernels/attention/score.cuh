#pragma once

// What makes a score of a product q . k: the scale, and what the description asks for besides. A
// kernel is compiled for Scaled, which is the scale alone, and for Described, which is all of
// attention.h but a functor, with its own arithmetic left as it is in the first; and where a
// functor is, for Custom (custom_rule.cuh).

#include <numbers>

#include "kernels/attention/custom.h"
#include "kernels/attention/problem.cuh"

namespace plinth::kernels::cuda::attention {

// A score in units of log 2, so that exponentials are powers of two, and its slope by
// x = scale product.
template <class C>
struct Score {
  C value, slope;
};

// 1 - tanh is 2 / (1 + e^2x): for elements of 16 bits two instructions do.
template <class T>
PLINTH_DEVICE compute_t<T> tanh_as(compute_t<T> x) {
  if constexpr (sizeof(T) == 2) {
    return 1 - 2 * fast_reciprocal(1 + exp_as<T>(2 * x));
  } else {
    return std::tanh(x);
  }
}

// Scores of one head of one problem.
template <class T>
struct ScoreOfHead {
  using C = compute_t<T>;
  C scale, cap, alibi_slope;
  Global<const T> bias;  // of query 0 and key 0
  int64_t bias_query, bias_key, offset;

  // Whether a functor shows a pair.
  PLINTH_DEVICE bool sees(int64_t, int64_t) const { return true; }

  // Of a pair that is there: bias has nothing beyond.
  PLINTH_DEVICE Score<C> at(C product, int64_t query, int64_t key) const {
    return bend({product * scale, 1}, query, key);
  }

  // Of a score that is scaled, and changed by a functor if there is one.
  PLINTH_DEVICE Score<C> bend(Score<C> scaled, int64_t query, int64_t key) const {
    C value = scaled.value, slope = scaled.slope;
    if (cap > 0) {
      const C bent = tanh_as<T>(value * fast_reciprocal(cap));
      value = cap * bent;
      slope *= 1 - bent * bent;
    }
    if (alibi_slope != 0) {
      const auto distance = static_cast<int32_t>(query + offset - key);  // one instruction to C
      value -= alibi_slope * C(distance < 0 ? -distance : distance);
    }
    if (bias) {
      const T added = bias[query * bias_query + key * bias_key];
      value += C(added);
    }
    return {value * std::numbers::log2e_v<C>, slope};
  }
};

// The scale alone.
template <class T>
struct Scaled {
  using C = compute_t<T>;
  static constexpr bool kScaleOnly = true, kMasks = false;

  explicit Scaled(const AttentionDesc&) {}
  PLINTH_DEVICE bool has_sinks() const { return false; }
  PLINTH_DEVICE C sink(int64_t) const { return 0; }
};

// All that a description can ask for.
template <class T>
struct Described {
  using C = compute_t<T>;
  static constexpr bool kScaleOnly = false, kMasks = false;
  C scale, cap;
  Global<const C> slopes, sinks;
  Global<const T> bias;
  AttentionDesc::BiasStrides strides;

  explicit Described(const AttentionDesc& d)
      : scale(C(d.scale)),
        cap(C(d.soft_cap)),
        slopes(static_cast<const C*>(d.alibi_slopes)),
        sinks(static_cast<const C*>(d.sinks)),
        bias(static_cast<const T*>(d.bias)),
        strides(d.bias_strides) {}

  PLINTH_DEVICE ScoreOfHead<T> of(const Problem& p, int64_t head) const {
    ScoreOfHead<T> score{scale, cap, 0, bias, strides.query, strides.key, p.kv_len - p.q_len};
    if (slopes) score.alibi_slope = slopes[head];
    if (bias) score.bias = bias + (p.batch * strides.batch + head * strides.head);
    return score;
  }
  // All is seen of a tile that the mask leaves.
  PLINTH_DEVICE cpu::BlockSight look(ScoreOfHead<T>&, const Range&, const Range&) const {
    return cpu::BlockSight::Full;
  }
  PLINTH_DEVICE bool has_sinks() const { return static_cast<bool>(sinks); }
  // In units of log 2.
  PLINTH_DEVICE C sink(int64_t head) const {
    const C value = sinks[head];
    return value * std::numbers::log2e_v<C>;
  }
};

inline bool scales_only(const AttentionDesc& d) {
  return d.soft_cap == 0 && !d.alibi_slopes && !d.bias && !d.sinks;
}

// The lse of a query in units of log 2; +inf where the query saw no key, so that its weights are 0.
template <class C>
PLINTH_DEVICE C lse_of_weights(C lse) {
  return lse == -std::numeric_limits<C>::infinity() ? -lse : lse * std::numbers::log2e_v<C>;
}

}  // namespace plinth::kernels::cuda::attention
