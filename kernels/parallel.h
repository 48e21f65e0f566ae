#pragma once

// Threads of the CPU kernels. Work is cut by its own size, never by the number of threads, so that
// a kernel gives the same bits on any number of them.

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace plinth::kernels {

// Calls body(begin, end) over disjoint ranges that cover [0, count), each at most `grain` long,
// from several threads. A range starts at a multiple of grain.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  const int64_t chunks = (count + grain - 1) / grain;
  if (chunks == 1 || omp_in_parallel() || omp_get_max_threads() == 1) {
    for (int64_t c = 0; c < chunks; ++c) body(c * grain, std::min(count, (c + 1) * grain));
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < chunks; ++c) body(c * grain, std::min(count, (c + 1) * grain));
}

// A grain that gives each range about 32K element visits, enough to hide the cost of a thread.
inline int64_t grain_for(int64_t elements_per_item) {
  return std::max<int64_t>(1, (int64_t{1} << 15) / std::max<int64_t>(1, elements_per_item));
}

}  // namespace plinth::kernels
