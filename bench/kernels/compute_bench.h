#pragma once

// What the benchmarks of the compute-bound kernels share. Operations are those of the kernel's
// contract header, and flops is to be read against what matmul's largest square reaches in the same
// run.

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "kernels/types.h"

namespace plinth::kernels {

template <class T>
std::vector<T> normal_values(int64_t n) {
  std::minstd_rand generator(1);
  std::normal_distribution<float> normal;
  std::vector<T> out(n);
  for (T& value : out) value = static_cast<T>(normal(generator));
  return out;
}

inline void set_operations(benchmark::State& state, double operations) {
  state.counters["flops"] =
      benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace plinth::kernels
