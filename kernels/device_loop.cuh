#pragma once

// Elementwise CUDA kernels over a Loop: how an index becomes offsets, and the kernels out = f(x)
// and out = f(x, y). Only for the .cu files of kernels.
//
// The dimensions are sorted by the output's stride and joined where all operands allow it, so that
// equal layouts become one dimension whatever they were. Along the innermost, elements move W at a
// time (16 bytes of the widest type) where every operand is contiguous and aligned there, or
// repeats one element; otherwise W is 1. Indices are below 2^31 (larger loops are cut), so that a
// division by a dimension's size is a multiplication and a shift.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "kernels/device/device.h"
#include "kernels/elementwise/loop.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

// n / divisor for 0 <= n < 2^31 (Granlund & Montgomery 1994, figure 4.1).
struct Division {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  Division() = default;
  explicit Division(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    while ((int64_t{1} << shift) < by) ++shift;
    multiplier = static_cast<uint32_t>(
        (uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor) / divisor + 1);
  }
  PLINTH_DEVICE uint32_t quotient(uint32_t n) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> 32);
    return (high + n) >> shift;
  }
};

// A Loop as a kernel takes it: dimension 0 is the innermost.
template <int kOperands>
struct DeviceLoop {
  int dims = 1;
  uint32_t count = 0;  // of vectors
  uint32_t tail = 0;   // elements of the last vector, where it is not whole
  Division size[kMaxLoopDims];
  int64_t stride[kOperands][kMaxLoopDims] = {};
  bool repeats[kOperands] = {};  // one element along the innermost dimension

  struct Offsets {
    int64_t of[kOperands];
  };
  PLINTH_DEVICE Offsets offsets(uint32_t index) const {
    Offsets at = {};
    for (int d = 0; d + 1 < dims; ++d) {
      const uint32_t rest = size[d].quotient(index);
      const int64_t here = index - rest * size[d].divisor;
      PLINTH_UNROLL
      for (int k = 0; k < kOperands; ++k) at.of[k] += here * stride[k][d];
      index = rest;
    }
    PLINTH_UNROLL
    for (int k = 0; k < kOperands; ++k)
      at.of[k] += static_cast<int64_t>(index) * stride[k][dims - 1];
    return at;
  }
};

// ---- planning, on the host ----

template <int kOperands>
int64_t elements(const Loop<kOperands>& loop) {
  return loop.rows() * loop.inner();
}

// The same elements with neighbouring dimensions joined where every operand allows it.
template <int kOperands>
Loop<kOperands> joined(const Loop<kOperands>& loop) {
  Loop<kOperands> result;
  for (int d = 0; d < loop.dims; ++d) {
    if (loop.size[d] == 1) continue;
    bool joins = result.dims > 0;
    for (int k = 0; joins && k < kOperands; ++k)
      joins = result.stride[k][result.dims - 1] == loop.stride[k][d] * loop.size[d];
    if (joins) {
      result.size[result.dims - 1] *= loop.size[d];
    } else {
      result.size[result.dims++] = loop.size[d];
    }
    for (int k = 0; k < kOperands; ++k) result.stride[k][result.dims - 1] = loop.stride[k][d];
  }
  if (result.dims == 0) {
    result.dims = 1;
    result.size[0] = 1;
    for (int k = 0; k < kOperands; ++k) result.stride[k][0] = 1;
  }
  return result;
}

// The same elements in the order of the output's memory, joined; the last dimension is innermost
// still.
template <int kOperands>
Loop<kOperands> simplified(const Loop<kOperands>& loop) {
  int order[kMaxLoopDims] = {};
  for (int d = 0; d < loop.dims; ++d) order[d] = d;
  std::stable_sort(order, order + loop.dims, [&](int a, int b) {
    return std::llabs(loop.stride[0][a]) > std::llabs(loop.stride[0][b]);
  });
  Loop<kOperands> sorted;
  for (int d = 0; d < loop.dims; ++d) {
    if (loop.size[order[d]] == 1) continue;
    for (int k = 0; k < kOperands; ++k) sorted.stride[k][sorted.dims] = loop.stride[k][order[d]];
    sorted.size[sorted.dims++] = loop.size[order[d]];
  }
  return joined(sorted);
}

// Calls f(part, offsets) for parts of fewer than 2^31 elements, in halves of the longest dimension.
template <int kOperands, class F>
void for_each_part(const Loop<kOperands>& loop,
                   const std::type_identity_t<std::array<int64_t, kOperands>>& at, F&& f) {
  if (elements(loop) < (int64_t{1} << 31)) return f(loop, at);
  const auto* first = loop.size.begin();
  const auto d = std::max_element(first, first + loop.dims) - first;
  Loop<kOperands> low = loop, high = loop;
  low.size[d] = loop.size[d] / 2;
  high.size[d] = loop.size[d] - low.size[d];
  auto beyond = at;
  for (int k = 0; k < kOperands; ++k) beyond[k] += low.size[d] * loop.stride[k][d];
  for_each_part(low, at, f);
  for_each_part(high, beyond, f);
}

// Whether W elements at a time reach every operand; element_size and address are the operands'.
template <int kOperands>
bool takes_vectors(const Loop<kOperands>& loop, int64_t width,
                   const std::array<int64_t, kOperands>& element_size,
                   const std::array<const void*, kOperands>& address) {
  const int inner = loop.dims - 1;
  if (loop.stride[0][inner] != 1 || (loop.dims > 1 && loop.inner() % width != 0)) return false;
  for (int k = 0; k < kOperands; ++k) {
    if (loop.stride[k][inner] == 0) continue;
    if (loop.stride[k][inner] != 1) return false;
    if (reinterpret_cast<uintptr_t>(address[k]) % (width * element_size[k]) != 0) return false;
    for (int d = 0; d < inner; ++d) {
      if (loop.stride[k][d] % width != 0) return false;
    }
  }
  return true;
}

template <int kOperands>
DeviceLoop<kOperands> device_loop(const Loop<kOperands>& loop, int64_t width) {
  DeviceLoop<kOperands> result;
  result.dims = loop.dims;
  result.tail = static_cast<uint32_t>((loop.inner() - 1) % width + 1);
  for (int d = 0; d < loop.dims; ++d) {
    const int from = loop.dims - 1 - d;
    const int64_t step = d == 0 ? width : 1;
    result.size[d] = Division((loop.size[from] + step - 1) / step);
    for (int k = 0; k < kOperands; ++k) result.stride[k][d] = loop.stride[k][from] * step;
  }
  for (int k = 0; k < kOperands; ++k) result.repeats[k] = loop.inner_stride(k) == 0;
  result.count = static_cast<uint32_t>(loop.rows() * ((loop.inner() + width - 1) / width));
  return result;
}

// ---- kernels ----

constexpr uint32_t kMapThreads = 256;

// Vectors that a thread has on their way at once.
template <int W>
inline constexpr uint32_t kInFlight = W == 1 ? 4 : 2;

// W elements, or the first `lanes` of them; one W times where it repeats.
template <int W, class T>
PLINTH_DEVICE Vector<T, W> read_lanes(Global<const T> from, bool repeats, uint32_t lanes) {
  Vector<T, W> v;
  if (W > 1 && !repeats && lanes == W) return load_vector<Vector<T, W>>(from);
  const T first = from[0];
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e) v[e] = first;
  if (repeats) return v;
  PLINTH_UNROLL
  for (int e = 1; e < W; ++e) {
    if (e < static_cast<int>(lanes)) v[e] = from[e];
  }
  return v;
}

template <int W, class T>
PLINTH_DEVICE void write_lanes(Global<T> to, const Vector<T, W>& v, uint32_t lanes) {
  if (W > 1 && lanes == W) return store_vector(to, v);
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e) {
    if (e < static_cast<int>(lanes)) to[e] = v[e];
  }
}

// Calls f(slot, index, lanes) for the vectors of this thread.
template <int W, int kOperands, class F>
PLINTH_DEVICE void for_own_vectors(const DeviceLoop<kOperands>& loop, F f) {
  const uint32_t first = block_index().x * (kMapThreads * kInFlight<W>)+thread_index();
  PLINTH_UNROLL
  for (uint32_t s = 0; s < kInFlight<W>; ++s) {
    const uint32_t index = first + s * kMapThreads;
    if (index < loop.count) f(s, index, index + 1 == loop.count ? loop.tail : uint32_t{W});
  }
}

// The values as they are stored.
template <class Out, int W>
PLINTH_DEVICE Vector<Out, W> stored(const compute_t<Out> (&values)[W]) {
  if constexpr (std::is_same_v<Out, compute_t<Out>>) {
    Vector<Out, W> v;
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) v[e] = values[e];
    return v;
  } else {
    return rounded<Out>(values);
  }
}

// F has types X and Out, and Y where there are two inputs; f.with_function(g) calls g with a
// function from compute_t<X> to compute_t<Out>.
template <int W, class F>
PLINTH_KERNEL void map_kernel(DeviceLoop<2> loop, F f, Global<const typename F::X> x,
                              Global<typename F::Out> out) {
  using X = typename F::X;
  using Out = typename F::Out;
  Vector<X, W> a[kInFlight<W>];
  int64_t to[kInFlight<W>];
  for_own_vectors<W>(loop, [&](uint32_t s, uint32_t index, uint32_t lanes) {
    const auto at = loop.offsets(index);
    to[s] = at.of[0];
    a[s] = read_lanes<W, X>(x + at.of[1], loop.repeats[1], lanes);
  });
  f.with_function([&](auto function) {
    for_own_vectors<W>(loop, [&](uint32_t s, uint32_t, uint32_t lanes) {
      compute_t<Out> result[W];
      PLINTH_UNROLL
      for (int e = 0; e < W; ++e) result[e] = function(static_cast<compute_t<X>>(a[s][e]));
      write_lanes<W, Out>(out + to[s], stored<Out>(result), lanes);
    });
  });
}

template <int W, class F>
PLINTH_KERNEL void map2_kernel(DeviceLoop<3> loop, F f, Global<const typename F::X> x,
                               Global<const typename F::Y> y, Global<typename F::Out> out) {
  using X = typename F::X;
  using Y = typename F::Y;
  using Out = typename F::Out;
  Vector<X, W> a[kInFlight<W>];
  Vector<Y, W> b[kInFlight<W>];
  int64_t to[kInFlight<W>];
  for_own_vectors<W>(loop, [&](uint32_t s, uint32_t index, uint32_t lanes) {
    const auto at = loop.offsets(index);
    to[s] = at.of[0];
    a[s] = read_lanes<W, X>(x + at.of[1], loop.repeats[1], lanes);
    b[s] = read_lanes<W, Y>(y + at.of[2], loop.repeats[2], lanes);
  });
  f.with_function([&](auto function) {
    for_own_vectors<W>(loop, [&](uint32_t s, uint32_t, uint32_t lanes) {
      compute_t<Out> result[W];
      PLINTH_UNROLL
      for (int e = 0; e < W; ++e) {
        result[e] =
            function(static_cast<compute_t<X>>(a[s][e]), static_cast<compute_t<X>>(b[s][e]));
      }
      write_lanes<W, Out>(out + to[s], stored<Out>(result), lanes);
    });
  });
}

// A kernel for one function.
template <class In, class Result, class Function, class Second = In>
struct Always {
  using X = In;
  using Y = Second;
  using Out = Result;
  Function function;
  template <class G>
  PLINTH_DEVICE void with_function(G g) const {
    g(function);
  }
};

// Calls f.operator()<op>() with one of the first kCount values of an enumeration.
template <int kCount, class Op, class F>
PLINTH_DEVICE void with_constant(Op op, F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    ((static_cast<int>(op) == I ? f.template operator()<static_cast<Op>(I)>() : void()), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

// ---- launching ----

template <int W, int kOperands>
LaunchShape map_shape(const DeviceLoop<kOperands>& loop) {
  constexpr uint32_t kABlock = kMapThreads * kInFlight<W>;
  return {{(loop.count + kABlock - 1) / kABlock}, {kMapThreads}, 0};
}

// In place of a kernel for vectors, where one is not worth compiling.
struct NoVectors {};

template <class X, class Out>
inline constexpr int kMapWidth = 16 / static_cast<int>(std::max(sizeof(X), sizeof(Out)));

// out = f(x): `whole` (or NoVectors) on vectors, `single` on single elements; they compute the
// same.
template <class F, class G>
void launch_map(const char* name, void* stream, const Loop<2>& loop, F whole, G single,
                const typename G::X* x, typename G::Out* out) {
  using X = typename G::X;
  using Out = typename G::Out;
  constexpr int W = kMapWidth<X, Out>;
  if (elements(loop) == 0) return;
  for_each_part(simplified(loop), {0, 0}, [&](const Loop<2>& part, std::array<int64_t, 2> at) {
    Out* const o = out + at[0];
    const X* const a = x + at[1];
    const bool vectors = !std::is_same_v<F, NoVectors> &&
                         takes_vectors<2>(part, W, {sizeof(Out), sizeof(X)}, {o, a});
    const auto plan = device_loop(part, vectors ? W : 1);
    const auto s = static_cast<Stream>(stream);
    if constexpr (!std::is_same_v<F, NoVectors>) {
      const auto* const typed = reinterpret_cast<const typename F::X*>(a);  // the same size
      if (vectors)
        return launch(name, map_kernel<W, F>, map_shape<W>(plan), s, plan, whole, typed, o);
    }
    launch(name, map_kernel<1, G>, map_shape<1>(plan), s, plan, single, a, o);
  });
}

// out = f(x, y); y is no wider than x.
template <class F, class G>
void launch_map(const char* name, void* stream, const Loop<3>& loop, F whole, G single,
                const typename G::X* x, const typename G::Y* y, typename G::Out* out) {
  using X = typename G::X;
  using Y = typename G::Y;
  using Out = typename G::Out;
  static_assert(sizeof(Y) <= sizeof(X));
  constexpr int W = kMapWidth<X, Out>;
  if (elements(loop) == 0) return;
  for_each_part(simplified(loop), {0, 0, 0}, [&](const Loop<3>& part, std::array<int64_t, 3> at) {
    Out* const o = out + at[0];
    const X* const a = x + at[1];
    const Y* const b = y + at[2];
    const bool vectors = !std::is_same_v<F, NoVectors> &&
                         takes_vectors<3>(part, W, {sizeof(Out), sizeof(X), sizeof(Y)}, {o, a, b});
    const auto plan = device_loop(part, vectors ? W : 1);
    const auto s = static_cast<Stream>(stream);
    if constexpr (!std::is_same_v<F, NoVectors>) {
      if (vectors)
        return launch(name, map2_kernel<W, F>, map_shape<W>(plan), s, plan, whole, a, b, o);
    }
    launch(name, map2_kernel<1, G>, map_shape<1>(plan), s, plan, single, a, b, o);
  });
}

}  // namespace plinth::kernels::cuda
