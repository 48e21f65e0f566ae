#include "kernels/reduce/fold.cuh"
#include "kernels/reduce/reduce_cuda.h"

namespace plinth::kernels::cuda {
namespace {

// ---- argmax ----

// The first of the largest: a NaN is larger than any number. Better in this order is total, so the
// threads' candidates may join in any tree.
template <class A>
struct Candidate {
  A value;
  int64_t index;  // -1: none
};

template <class A>
PLINTH_DEVICE Candidate<A> better(const Candidate<A>& a, const Candidate<A>& b) {
  if (a.index < 0) return b;
  if (b.index < 0) return a;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan ? a : b;
  if (!a_nan && a.value != b.value) return a.value > b.value ? a : b;
  return a.index < b.index ? a : b;
}

template <class A>
PLINTH_DEVICE Candidate<A> best_of_warp(Candidate<A> mine) {
  for (uint32_t distance = 16; distance > 0; distance /= 2) {
    const A value = shuffle_xor(mine.value, distance);
    const int64_t index = shuffle_xor(mine.index, distance);
    mine = better(mine, Candidate<A>{value, index});
  }
  return mine;
}

// The block's threads take elements of an output in turn.
template <class T>
PLINTH_KERNEL void argmax_kernel(DeviceLoop<2> kept, ReducedDims reduced, int64_t count,
                                 Global<const T> x, Global<int64_t> out) {
  using A = accumulate_t<T>;
  constexpr uint32_t kWarps = kReduceThreads / 32;
  const Shared<int64_t> indices = shared_array<int64_t>(0, kWarps);
  const Shared<A> values = shared_array<A>(kWarps * sizeof(int64_t), kWarps);
  const auto at = kept.offsets(block_index().x);
  const Global<const T> from = x + at.of[1];
  Candidate<A> best{A(0), -1};
  for (int64_t i = thread_index(); i < count; i += kReduceInFlight * kReduceThreads) {
    T loaded[kReduceInFlight];
    PLINTH_UNROLL
    for (int k = 0; k < kReduceInFlight; ++k) {
      const int64_t here = i + k * static_cast<int64_t>(kReduceThreads);
      loaded[k] = from[reduced.offset(here < count ? here : i)];
    }
    PLINTH_UNROLL
    for (int k = 0; k < kReduceInFlight; ++k) {
      const int64_t here = i + k * static_cast<int64_t>(kReduceThreads);
      const A value = static_cast<A>(static_cast<compute_t<T>>(loaded[k]));
      best = better(best, Candidate<A>{value, here < count ? here : int64_t{-1}});
    }
  }
  best = best_of_warp(best);
  if (lane_index() == 0) {
    values[warp_index()] = best.value;
    indices[warp_index()] = best.index;
  }
  block_sync();
  if (warp_index() != 0) return;
  best = Candidate<A>{A(0), -1};
  if (lane_index() < kWarps) {
    best.value = values[lane_index()];
    best.index = indices[lane_index()];
  }
  best = best_of_warp(best);
  if (lane_index() == 0) out[at.of[0]] = best.index;
}

// ---- cumsum ----

constexpr int kScanItems = 4;
constexpr int64_t kScanTile = int64_t{kReduceThreads} * kScanItems;

// The sum of the values of lower lanes and this one.
template <class A>
PLINTH_DEVICE A scan_of_warp(A value) {
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const uint32_t lane = lane_index();
    const A below = shuffle(value, lane >= distance ? lane - distance : lane);
    if (lane >= distance) value = static_cast<A>(below + value);
  }
  return value;
}

template <class T>
PLINTH_KERNEL void cumsum_kernel(int64_t length, Global<const T> x, Global<T> out) {
  using A = accumulate_t<T>;
  constexpr uint32_t kWarps = kReduceThreads / 32;
  // Two sets in turn, so that one barrier a tile is enough.
  const Shared<A> totals = shared_array<A>(0, 2 * kWarps);
  const int64_t row = static_cast<int64_t>(block_index().x) * length;
  A carry = A(0);
  uint32_t set = 0;
  for (int64_t tile = 0; tile < length; tile += kScanTile, set ^= 1) {
    const int64_t first = tile + static_cast<int64_t>(thread_index()) * kScanItems;
    A sums[kScanItems];
    A sum = A(0);
    PLINTH_UNROLL
    for (int k = 0; k < kScanItems; ++k) {
      if (first + k < length) {
        const T element = x[row + first + k];
        sum = static_cast<A>(sum + static_cast<A>(static_cast<compute_t<T>>(element)));
      }
      sums[k] = sum;
    }
    const A through = scan_of_warp(sum);
    if (lane_index() == 31) totals[set * kWarps + warp_index()] = through;
    block_sync();
    A before = carry;
    A all = carry;
    PLINTH_UNROLL
    for (uint32_t w = 0; w < kWarps; ++w) {
      const A total = totals[set * kWarps + w];
      if (w < warp_index()) before = static_cast<A>(before + total);
      all = static_cast<A>(all + total);
    }
    // What the lanes below have: not through - sum, which would round again.
    const A below = shuffle(through, lane_index() > 0 ? lane_index() - 1 : 0);
    if (lane_index() > 0) before = static_cast<A>(before + below);
    PLINTH_UNROLL
    for (int k = 0; k < kScanItems; ++k) {
      if (first + k < length)
        out[row + first + k] = T(static_cast<compute_t<T>>(static_cast<A>(before + sums[k])));
    }
    carry = all;
  }
}

}  // namespace

template <class T>
void argmax(void* stream, const Reduction& shape, const T* x, int64_t* out) {
  const int64_t count = elements(shape.reduced);
  if (elements(shape.kept) == 0 || count == 0) return;
  constexpr size_t kBytes = kReduceThreads / 32 * (sizeof(int64_t) + sizeof(accumulate_t<T>));
  // The reduced dimensions keep their order, which gives the positions.
  const ReducedDims reduced = reduced_dims(joined(shape.reduced));
  for_each_part(simplified(shape.kept), {0, 0},
                [&](const Loop<2>& part, std::array<int64_t, 2> at) {
                  const auto blocks = static_cast<uint32_t>(elements(part));
                  launch("argmax", argmax_kernel<T>, {{blocks}, {kReduceThreads}, kBytes},
                         static_cast<Stream>(stream), device_loop(part, 1), reduced, count,
                         x + at[1], out + at[0]);
                });
}

template <class T>
void cumsum(void* stream, int64_t rows, int64_t length, const T* x, T* out) {
  if (rows == 0 || length == 0) return;
  launch("cumsum", cumsum_kernel<T>,
         {{static_cast<uint32_t>(rows)},
          {kReduceThreads},
          2 * kReduceThreads / 32 * sizeof(accumulate_t<T>)},
         static_cast<Stream>(stream), length, x, out);
}

#define PLINTH_INSTANTIATE(T)                                           \
  template void argmax<T>(void*, const Reduction&, const T*, int64_t*); \
  template void cumsum<T>(void*, int64_t, int64_t, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
