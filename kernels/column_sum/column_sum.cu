#include "kernels/column_sum/column_sum_cuda.h"

#include "kernels/instantiate.h"
#include "kernels/reduce/reduce_cuda.h"

namespace plinth::kernels::cuda {
namespace {

Reduction over_rows(int64_t rows, int64_t cols) {
  Reduction shape;
  shape.kept.dims = shape.reduced.dims = 1;
  shape.kept.size[0] = cols;
  shape.kept.stride[0][0] = shape.kept.stride[1][0] = 1;
  shape.reduced.size[0] = rows;
  shape.reduced.stride[0][0] = cols;
  return shape;
}

}  // namespace

size_t column_sum_workspace(int64_t rows, int64_t cols) {
  return reduce_workspace(over_rows(rows, cols));
}

template <class T>
void column_sum(void* stream, int64_t rows, int64_t cols, const T* x, T* out, void* workspace) {
  reduce(stream, ReduceOp::Sum, over_rows(rows, cols), x, out, workspace);
}

#define INSTANTIATE(T) template void column_sum(void*, int64_t, int64_t, const T*, T*, void*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
