#include "kernels/device/device.h"
#include "kernels/topk/topk_cuda.h"

namespace plinth::kernels::cuda {
namespace {

using namespace device;

constexpr uint32_t kThreads = 128;

// An element and its position, -1 where there is none.
template <class C>
struct Candidate {
  C value = 0;
  int64_t position = -1;
};

template <class C>
PLINTH_DEVICE bool stands_before(const Candidate<C>& a, const Candidate<C>& b) {
  if (a.position < 0 || b.position < 0) return a.position >= 0;
  return kernels::stands_before(a.value, a.position, b.value, b.position);
}

// The first of the lanes' candidates, on every lane.
template <class C>
PLINTH_DEVICE Candidate<C> first_of_warp(Candidate<C> own) {
  for (uint32_t distance = 16; distance > 0; distance /= 2) {
    const Candidate<C> other{shuffle_xor(own.value, distance), shuffle_xor(own.position, distance)};
    if (stands_before(other, own)) own = other;
  }
  return own;
}

template <class T>
PLINTH_KERNEL void topk_kernel(int64_t rows, int64_t cols, int64_t k, Global<const T> x,
                               Global<int64_t> out) {
  using C = compute_t<T>;
  const int64_t row = static_cast<int64_t>(block_index().x) * (kThreads / 32) + warp_index();
  if (row >= rows) return;  // a whole warp
  Candidate<C> last;
  for (int64_t i = 0; i < k; ++i) {
    Candidate<C> best;
    for (int64_t j = lane_index(); j < cols; j += 32) {
      const Candidate<C> here{static_cast<C>(T(x[row * cols + j])), j};
      const bool is_left = i == 0 || stands_before(last, here);
      if (is_left && stands_before(here, best)) best = here;
    }
    last = first_of_warp(best);
    if (lane_index() == 0) out[row * k + i] = last.position;
  }
}

}  // namespace

template <class T>
void topk(void* stream, int64_t rows, int64_t cols, int64_t k, const T* x, int64_t* out) {
  if (rows == 0 || k == 0) return;
  constexpr int64_t kRows = kThreads / 32;
  const auto blocks = static_cast<uint32_t>((rows + kRows - 1) / kRows);
  launch("topk", topk_kernel<T>, {{blocks}, {kThreads}, 0}, static_cast<Stream>(stream), rows, cols,
         k, x, out);
}

#define PLINTH_INSTANTIATE(T) \
  template void topk<T>(void*, int64_t, int64_t, int64_t, const T*, int64_t*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)

}  // namespace plinth::kernels::cuda
