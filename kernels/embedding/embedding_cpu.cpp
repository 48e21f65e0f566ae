#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <vector>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {

template <class T>
void embedding_forward(int64_t n, int64_t /*vocab*/, int64_t dim, const int64_t* ids, const T* w,
                       T* y) {
  parallel_for(n, grain_for(dim), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(w + ids[i] * dim, dim, y + i * dim);
    }
  });
}

template <class T>
void embedding_backward(int64_t n, int64_t vocab, int64_t dim, const int64_t* ids, const T* dy,
                        compute_t<T>* dw) {
  std::vector<int64_t> first(vocab + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++first[ids[i] + 1];
  for (int64_t v = 0; v < vocab; ++v) first[v + 1] += first[v];
  std::vector<int64_t> order(n), next(first.begin(), first.end() - 1);
  for (int64_t i = 0; i < n; ++i) order[next[ids[i]]++] = i;
  parallel_for(vocab, grain_for(dim), [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      for (int64_t k = first[v]; k < first[v + 1]; ++k) {
        const T* row = dy + order[k] * dim;
        for (int64_t j = 0; j < dim; ++j) dw[v * dim + j] += row[j];
      }
    }
  });
}

#define INSTANTIATE(T)                                                                      \
  template void embedding_forward(int64_t, int64_t, int64_t, const int64_t*, const T*, T*); \
  template void embedding_backward(int64_t, int64_t, int64_t, const int64_t*, const T*,     \
                                   compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
