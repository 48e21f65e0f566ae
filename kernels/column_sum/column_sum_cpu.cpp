#include "kernels/column_sum/column_sum.h"

#include "kernels/instantiate.h"
#include "kernels/row_blocks.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {
namespace {

// Adds kRows rows to partial, so that they share its load and store.
template <int kRows, class T>
void add_rows(int64_t cols, const T* x, compute_t<T>* partial) {
  for_vectors<compute_t<T>>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    auto sum = load(x + j, part);
    for (int k = 1; k < kRows; ++k) sum += load(x + k * cols + j, part);
    store(partial + j, load(partial + j, part) + sum, part);
  });
}

}  // namespace

template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, T* out) {
  using C = compute_t<T>;
  const RowBlocks blocks = row_blocks(rows, cols);
  const C* partials =
      partial_sums<C>(blocks, rows, cols, [=](int64_t first, int64_t last, C* partial) {
        for (; first + 4 <= last; first += 4) add_rows<4>(cols, x + first * cols, partial);
        for (; first < last; ++first) add_rows<1>(cols, x + first * cols, partial);
      });
  add_partials(blocks.count, cols, cols, partials, out);
}

#define INSTANTIATE(T) template void column_sum(int64_t, int64_t, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
