#include "kernels/optimizer/optimizer_cuda.h"
#include "kernels/optimizer/tensor_table.cuh"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr int kVectorsAThread = 4;
// Elements of a vector: 16 bytes of the narrow ones, twice 16 of the floats.
constexpr int kLanes = 8;
constexpr int64_t kChunk = int64_t{kThreads} * kVectorsAThread * kLanes;

template <class To>
struct Copy {
  int64_t n;
  const float* parameter;
  To* copy;
  bool aligned;  // to 16 bytes, both
};

// A whole vector.
template <class To>
PLINTH_DEVICE void copy_vector(Global<const float> x, Global<To> out) {
  constexpr int kHalf = kLanes / 2;
  const auto low = load_vector<Vector<float, kHalf>>(x);
  const auto high = load_vector<Vector<float, kHalf>>(x + kHalf);
  float both[kLanes];
  PLINTH_UNROLL
  for (int e = 0; e < kHalf; ++e) {
    both[e] = low[e];
    both[kHalf + e] = high[e];
  }
  store_vector(out, rounded<To>(both));
}

template <class To>
PLINTH_KERNEL void copy_kernel(TensorTable<Copy<To>> table) {
  const int t = table.tensor_of(block_index().x);
  const Copy<To>& entry = table.entries[t];
  const int64_t first = static_cast<int64_t>(block_index().x - table.first[t]) * kChunk;
  const Global<const float> x = entry.parameter;
  const Global<To> out = entry.copy;

  PLINTH_UNROLL
  for (int k = 0; k < kVectorsAThread; ++k) {
    const int64_t i = first + (static_cast<int64_t>(k) * kThreads + thread_index()) * kLanes;
    if (i >= entry.n) break;
    const int64_t end = i + kLanes < entry.n ? i + kLanes : entry.n;
    if (entry.aligned && end == i + kLanes) {
      copy_vector<To>(x + i, out + i);
    } else {
      for (int64_t e = i; e < end; ++e) out[e] = To(x[e]);
    }
  }
}

}  // namespace

template <class To>
void copy_parameters(void* stream, std::span<const ParameterCopy<To>> list) {
  static_assert(sizeof(TensorTable<Copy<To>>) <= 4096);
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  for_each_table<Copy<To>>(
      list.size(), kChunk,
      [&](size_t t) {
        const auto& [n, parameter, copy] = list[t];
        return Copy<To>{n, parameter, copy, aligned(parameter) && aligned(copy)};
      },
      [&](const TensorTable<Copy<To>>& table, uint32_t blocks, int64_t) {
        launch("copy_parameters", copy_kernel<To>, {{blocks}, {kThreads}, 0},
               static_cast<Stream>(stream), table);
      });
}
template void copy_parameters(void*, std::span<const ParameterCopy<BFloat16>>);
template void copy_parameters(void*, std::span<const ParameterCopy<Float16>>);

}  // namespace plinth::kernels::cuda
