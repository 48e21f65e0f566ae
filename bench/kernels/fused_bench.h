#pragma once

// What the benchmarks of the bandwidth-bound kernels share. Bytes are those of the kernel's
// contract header: each operand counted once; bytes_per_second is to be read against that of
// `copy`.

#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/types.h"

namespace plinth::kernels {

// Values in [-2, 2) that repeat after 1021 elements.
template <class T>
std::vector<T> sample_values(int64_t n) {
  std::vector<T> out(n);
  for (int64_t i = 0; i < n; ++i) out[i] = T(static_cast<float>(i * 257 % 1021) / 255.25f - 2);
  return out;
}

inline void set_bytes(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
}

inline void matrix_shapes(benchmark::internal::Benchmark* row) {
  row->ArgNames({"rows", "cols"})->Args({2048, 256})->Args({2048, 1024})->Args({4096, 768});
  row->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace plinth::kernels
