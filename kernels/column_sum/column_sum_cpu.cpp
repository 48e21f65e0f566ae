#include "kernels/column_sum/column_sum.h"

#include "kernels/instantiate.h"
#include "kernels/row_blocks.h"

namespace plinth::kernels::cpu {

template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, T* out) {
  using C = compute_t<T>;
  const RowBlocks blocks = row_blocks(rows, cols);
  const auto partials =
      partial_sums<C>(blocks, rows, cols, [=](int64_t first, int64_t last, C* partial) {
        RowBuffer<T> buffer(cols);
        for (int64_t i = first; i < last; ++i) {
          const C* row = buffer.read(x + i * cols);
#pragma omp simd
          for (int64_t j = 0; j < cols; ++j) partial[j] += row[j];
        }
      });
  add_partials(blocks.count, cols, cols, partials.get(), out);
}

#define INSTANTIATE(T) template void column_sum(int64_t, int64_t, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
