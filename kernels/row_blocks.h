#pragma once

// Two-stage column sums: the rows of a matrix are cut into blocks, each block sums its rows into
// its own partial row from one thread, and the partial rows are then added in order. The blocks
// depend on the matrix's size only, so the result has the same bits on any number of threads.

#include <algorithm>
#include <cstdint>

#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/types.h"

namespace plinth::kernels {

struct RowBlocks {
  int64_t count = 0;
  int64_t rows_per_block = 1;
};

// At most 32 blocks: enough for the threads of a large machine, few enough that their partial rows
// are a small part of the traffic.
inline RowBlocks row_blocks(int64_t rows, int64_t cols) {
  const int64_t rows_per_block =
      std::max({int64_t{1}, (rows + 31) / 32, std::min(rows, grain_for(cols))});
  return {(rows + rows_per_block - 1) / rows_per_block, rows_per_block};
}

// Calls body(first_row, last_row, partial) for each block, partial being `width` zeros to be added
// to, then finish(partials, count): count rows of width.
template <class C, class Body>
const C* partial_sums(const RowBlocks& blocks, int64_t rows, int64_t width, Body&& body) {
  thread_local Scratch scratch;
  C* partials = scratch.get<C>(blocks.count * width);
  parallel_for(blocks.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      C* partial = partials + b * width;
      std::fill_n(partial, width, C(0));
      body(b * blocks.rows_per_block, std::min(rows, (b + 1) * blocks.rows_per_block), partial);
    }
  });
  return partials;
}

// out_j = sum_b partials[b * width + j], j < cols, in the order of b.
template <class T>
void add_partials(int64_t count, int64_t width, int64_t cols, const compute_t<T>* partials,
                  T* out) {
  using C = compute_t<T>;
  constexpr int64_t kStrip = 256;
  parallel_for(cols, std::max(kStrip, grain_for(count)), [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; strip += kStrip) {
      const int64_t n = std::min(kStrip, end - strip);
      C sum[kStrip] = {};
      for (int64_t b = 0; b < count; ++b) {
        const C* partial = partials + b * width + strip;
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) sum[j] += partial[j];
      }
      for (int64_t j = 0; j < n; ++j) out[strip + j] = T(sum[j]);
    }
  });
}

}  // namespace plinth::kernels
