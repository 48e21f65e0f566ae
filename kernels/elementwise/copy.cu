#include "kernels/device_loop.cuh"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/elementwise/functions.h"
#include "kernels/elementwise/transpose.cuh"

namespace plinth::kernels::cuda {
namespace {

template <class From, class To>
struct Conversion {
  PLINTH_DEVICE compute_t<To> operator()(compute_t<From> a) const {
    if constexpr (std::is_floating_point_v<compute_t<To>>) {
      return static_cast<compute_t<To>>(a);  // rounded to To when it is stored
    } else {
      return convert<To>(a);
    }
  }
};
template <class From, class To>
using Convert = Always<From, To, Conversion<From, To>>;

// Where vectors have a kernel of their own: among floating-point types, and to and from float.
template <class From, class To>
constexpr bool has_vectors() {
  return (is_floating_point(dtype_of<From>) && is_floating_point(dtype_of<To>)) ||
         std::is_same_v<From, float> || std::is_same_v<To, float>;
}

// The others, and single elements, come as bits of a size, so that few kernels are compiled: each
// chooses the source's type among those of its size. A bool is a byte of 0 or 1.
template <class From, class To>
struct BitsConversion {
  template <class Bits>
  PLINTH_DEVICE compute_t<To> operator()(Bits bits) const {
    return Conversion<From, To>{}(static_cast<compute_t<From>>(std::bit_cast<From>(bits)));
  }
};

template <class Bits, class To>
struct ConvertBits {
  using X = Bits;
  using Out = To;
  DType from;
  template <class G>
  PLINTH_DEVICE void with_function(G g) const {
    if constexpr (sizeof(Bits) == 8) {
      if (from == DType::Float64) return g(BitsConversion<double, To>{});
      g(BitsConversion<int64_t, To>{});
    } else if constexpr (sizeof(Bits) == 4) {
      if (from == DType::Float32) return g(BitsConversion<float, To>{});
      g(BitsConversion<int32_t, To>{});
    } else if constexpr (sizeof(Bits) == 2) {
      if (from == DType::BFloat16) return g(BitsConversion<BFloat16, To>{});
      g(BitsConversion<Float16, To>{});
    } else {
      if (from == DType::Float8_e4m3) return g(BitsConversion<Float8_e4m3, To>{});
      if (from == DType::Float8_e5m2) return g(BitsConversion<Float8_e5m2, To>{});
      g(BitsConversion<uint8_t, To>{});
    }
  }
};

// Unsigned integers of T's size.
template <class T>
using BitsOf =
    std::conditional_t<sizeof(T) == 1, uint8_t,
                       std::conditional_t<sizeof(T) == 2, uint16_t,
                                          std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

template <int W, class U>
PLINTH_KERNEL void fill_kernel(DeviceLoop<1> loop, U value, Global<U> out) {
  Vector<U, W> v;
  PLINTH_UNROLL
  for (int e = 0; e < W; ++e) v[e] = value;
  for_own_vectors<W>(loop, [&](uint32_t, uint32_t index, uint32_t lanes) {
    write_lanes<W, U>(out + loop.offsets(index).of[0], v, lanes);
  });
}

// Elements as bits: one kernel a size.
template <class U>
void copy_bits(void* stream, const Loop<2>& loop, const void* x, void* out) {
  const U* const from = static_cast<const U*>(x);
  U* const to = static_cast<U*>(out);
  if (elements(loop) == 0) return;
  const Loop<2> simple = simplified(loop);
  if (is_transpose(simple)) return transpose_copy<U>(stream, simple, from, to);
  launch_map("copy", stream, simple, Convert<U, U>{}, Convert<U, U>{}, from, to);
}

template <class U>
void fill_bits(void* stream, const Loop<1>& loop, U value, void* out) {
  constexpr int W = 16 / static_cast<int>(sizeof(U));
  if (elements(loop) == 0) return;
  for_each_part(simplified(loop), {0}, [&](const Loop<1>& part, std::array<int64_t, 1> at) {
    U* const o = static_cast<U*>(out) + at[0];
    const bool vectors = takes_vectors<1>(part, W, {sizeof(U)}, {o});
    const auto plan = device_loop(part, vectors ? W : 1);
    const auto s = static_cast<Stream>(stream);
    if (vectors) {
      launch("fill", fill_kernel<W, U>, map_shape<W>(plan), s, plan, value, o);
    } else {
      launch("fill", fill_kernel<1, U>, map_shape<1>(plan), s, plan, value, o);
    }
  });
}

}  // namespace

template <class From, class To>
void copy(void* stream, const Loop<2>& loop, const From* x, To* out) {
  if constexpr (std::is_same_v<From, To>) {
    copy_bits<BitsOf<To>>(stream, loop, x, out);
  } else {
    using Bits = BitsOf<From>;
    const ConvertBits<Bits, To> single{dtype_of<From>};
    const auto* const bits = reinterpret_cast<const Bits*>(x);
    if constexpr (has_vectors<From, To>()) {
      launch_map("copy", stream, loop, Convert<From, To>{}, single, bits, out);
    } else {
      launch_map("copy", stream, loop, NoVectors{}, single, bits, out);
    }
  }
}

template <class T>
void fill(void* stream, const Loop<1>& loop, T value, T* out) {
  fill_bits(stream, loop, std::bit_cast<BitsOf<T>>(value), out);
}

#define PLINTH_INSTANTIATE(From, To) \
  template void copy<From, To>(void*, const Loop<2>&, const From*, To*);
#define PLINTH_FROM(From)                                       \
  template void fill<From>(void*, const Loop<1>&, From, From*); \
  PLINTH_INSTANTIATE(From, double)                              \
  PLINTH_INSTANTIATE(From, float)                               \
  PLINTH_INSTANTIATE(From, BFloat16)                            \
  PLINTH_INSTANTIATE(From, Float16)                             \
  PLINTH_INSTANTIATE(From, Float8_e4m3)                         \
  PLINTH_INSTANTIATE(From, Float8_e5m2)                         \
  PLINTH_INSTANTIATE(From, int64_t)                             \
  PLINTH_INSTANTIATE(From, int32_t)                             \
  PLINTH_INSTANTIATE(From, uint8_t)                             \
  PLINTH_INSTANTIATE(From, bool)
PLINTH_FROM(double)
PLINTH_FROM(float)
PLINTH_FROM(BFloat16)
PLINTH_FROM(Float16)
PLINTH_FROM(Float8_e4m3)
PLINTH_FROM(Float8_e5m2)
PLINTH_FROM(int64_t)
PLINTH_FROM(int32_t)
PLINTH_FROM(uint8_t)
PLINTH_FROM(bool)
#undef PLINTH_FROM
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
