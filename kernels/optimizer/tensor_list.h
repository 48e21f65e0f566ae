#pragma once

// Parallel loops over a list of arrays taken as one sequence of elements.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/parallel.h"

namespace plinth::kernels {

// Calls body(t, begin, end) so that the ranges cover [0, size(t)) of every array t < count. The
// sequence of all elements is cut into equal ranges, each done by one thread; a range begins at a
// multiple of 64 elements of its array, so that vectors keep the array's alignment.
template <class Size, class Body>
void for_each_range(int64_t count, Size&& size, Body&& body) {
  std::vector<int64_t> start(count + 1, 0);
  for (int64_t t = 0; t < count; ++t) start[t + 1] = start[t] + size(t);
  const auto place = [](int64_t element, int64_t n) {
    return std::clamp((element + 63) / 64 * 64, int64_t{0}, n);
  };
  parallel_for(start[count], grain_for(1), [&](int64_t begin, int64_t end) {
    int64_t t = std::upper_bound(start.begin(), start.end(), begin) - start.begin() - 1;
    for (; t < count && start[t] < end; ++t) {
      const int64_t n = start[t + 1] - start[t];
      const int64_t from = place(begin - start[t], n), to = place(end - start[t], n);
      if (from < to) body(t, from, to);
    }
  });
}

}  // namespace plinth::kernels
