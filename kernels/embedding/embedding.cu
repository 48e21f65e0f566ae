#include "kernels/embedding/embedding_cuda.h"

#include "kernels/index/index_cuda.h"
#include "kernels/instantiate.h"
#include "kernels/segment_add.cuh"

namespace plinth::kernels::cuda {

template <class T>
void embedding_forward(void* stream, int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                       const T* w, T* y) {
  index_select(stream, {.outer = 1, .length = vocab, .indices = n, .inner = dim}, sizeof(T), w, ids,
               y);
}

template <class T>
size_t embedding_backward_workspace(int64_t n, int64_t vocab, int64_t dim) {
  return segment_add_workspace<compute_t<T>>(1, vocab, n, dim);
}

template <class T>
void embedding_backward(void* stream, int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                        const T* dy, compute_t<T>* dw, void* workspace) {
  segment_add(stream, 1, vocab, n, dim, ids, dy, dw, workspace);
}

#define INSTANTIATE(T)                                                                             \
  template void embedding_forward(void*, int64_t, int64_t, int64_t, const int64_t*, const T*, T*); \
  template size_t embedding_backward_workspace<T>(int64_t, int64_t, int64_t);                      \
  template void embedding_backward(void*, int64_t, int64_t, int64_t, const int64_t*, const T*,     \
                                   compute_t<T>*, void*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
