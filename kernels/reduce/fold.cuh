#pragma once

// What the reductions of the GPU share. Only for the .cu files of this folder.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/device_loop.cuh"
#include "kernels/reduce/reduce.h"

namespace plinth::kernels::cuda {

// What a sum of T is held in: bytes wrap only when they are stored.
template <class T>
using accumulate_t = std::conditional_t<std::is_same_v<T, uint8_t>, uint32_t, compute_t<T>>;

// How elements become one value, and what becomes of it.
enum class Fold { Sum, Squares, Product, Max, Min };
enum class Finish { None, Mean, Root, Truth };
constexpr int kFolds = 5;

template <Fold fold, class T>
struct Folding {
  using A = accumulate_t<T>;
  using C = compute_t<T>;

  PLINTH_DEVICE static A identity() {
    using Limits = std::numeric_limits<C>;
    if constexpr (fold == Fold::Product) return A(1);
    if constexpr (fold == Fold::Max)
      return static_cast<A>(Limits::has_infinity ? -Limits::infinity() : Limits::lowest());
    if constexpr (fold == Fold::Min)
      return static_cast<A>(Limits::has_infinity ? Limits::infinity() : Limits::max());
    return A(0);
  }
  PLINTH_DEVICE A operator()(A a, A b) const {
    if constexpr (fold == Fold::Product) return static_cast<A>(wrapped(a) * wrapped(b));
    if constexpr (fold == Fold::Max) return a != a || a > b ? a : b;
    if constexpr (fold == Fold::Min) return a != a || a < b ? a : b;
    return static_cast<A>(wrapped(a) + wrapped(b));
  }
  PLINTH_DEVICE static A map(const T& element) {
    const A value = static_cast<A>(static_cast<C>(element));
    if constexpr (fold == Fold::Squares) return static_cast<A>(wrapped(value) * wrapped(value));
    return value;
  }

 private:
  // Signed integers wrap.
  PLINTH_DEVICE static auto wrapped(A a) {
    if constexpr (std::is_integral_v<A>) {
      return static_cast<std::make_unsigned_t<A>>(a);
    } else {
      return a;
    }
  }
};

template <class T>
PLINTH_DEVICE T finished(Finish finish, accumulate_t<T> total, int64_t count) {
  using C = compute_t<T>;
  auto value = static_cast<C>(total);
  if (finish == Finish::Mean) {
    const C n = static_cast<C>(count);
    value = std::is_floating_point_v<C> || n != 0 ? static_cast<C>(value / n) : C(0);
  } else if (finish == Finish::Root) {
    if constexpr (std::is_floating_point_v<C>) {
      value = std::sqrt(value);
    } else {
      value = static_cast<C>(std::sqrt(static_cast<double>(value)));
    }
  } else if (finish == Finish::Truth) {
    value = static_cast<C>(value != 0);
  }
  return T(value);
}

// Offsets of the elements that are reduced; dimension 0 is the innermost.
struct ReducedDims {
  int dims = 1;
  bool wide = false;  // 2^31 elements or more: divides as the processor does
  Division divide[kMaxLoopDims];
  int64_t size[kMaxLoopDims] = {};
  int64_t stride[kMaxLoopDims] = {};

  PLINTH_DEVICE int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int d = 0; d + 1 < dims; ++d) {
      const int64_t rest =
          wide ? index / size[d] : divide[d].quotient(static_cast<uint32_t>(index));
      at += (index - rest * size[d]) * stride[d];
      index = rest;
    }
    return at + index * stride[dims - 1];
  }
};

inline ReducedDims reduced_dims(const Loop<1>& loop) {
  ReducedDims result;
  result.dims = loop.dims;
  result.wide = elements(loop) >= int64_t{1} << 31;
  for (int d = 0; d < loop.dims; ++d) {
    result.size[d] = loop.size[loop.dims - 1 - d];
    result.stride[d] = loop.stride[0][loop.dims - 1 - d];
    if (!result.wide) result.divide[d] = Division(std::max<int64_t>(1, result.size[d]));
  }
  return result;
}

constexpr uint32_t kReduceThreads = 256;
constexpr int kReduceInFlight = 4;

// The values of a warp, or of a block of kReduceThreads, joined; thread 0 of the group has the
// whole.
template <class A, class F>
PLINTH_DEVICE A join_group(A value, uint32_t group, A identity, F fold, Shared<A> scratch) {
  if (group == 32) return warp_reduce(value, fold);
  return block_reduce(value, identity, scratch, fold);
}

}  // namespace plinth::kernels::cuda
