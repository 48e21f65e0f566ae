#include "kernels/index/index.h"

#include <cstring>

#include "kernels/index/with_bits.h"
#include "kernels/parallel.h"

namespace plinth::kernels::cpu {
namespace {

// Calls f(o, k) for each outer index and each inner element, from several threads.
template <class F>
void for_each_line(const IndexShape& shape, F f) {
  parallel_for(shape.outer * shape.inner, grain_for(shape.indices),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) f(i / shape.inner, i % shape.inner);
               });
}

}  // namespace

void index_select(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
                  void* out) {
  const size_t bytes = static_cast<size_t>(shape.inner) * element_size;
  parallel_for(shape.outer * shape.indices, grain_for(shape.inner),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t from = i / shape.indices * shape.length + index[i % shape.indices];
                   std::memcpy(static_cast<char*>(out) + i * bytes,
                               static_cast<const char*>(x) + from * bytes, bytes);
                 }
               });
}

template <class T>
void index_add(const IndexShape& shape, const T* x, const int64_t* index, T* out) {
  using C = compute_t<T>;
  for_each_line(shape, [&](int64_t o, int64_t k) {
    for (int64_t i = 0; i < shape.indices; ++i) {
      T& target = out[(o * shape.length + index[i]) * shape.inner + k];
      target = static_cast<T>(static_cast<C>(target) +
                              static_cast<C>(x[(o * shape.indices + i) * shape.inner + k]));
    }
  });
}

void gather(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
            void* out) {
  with_bits(element_size, x, out, [&](auto* from, auto* to) {
    for_each_line(shape, [&](int64_t o, int64_t k) {
      for (int64_t i = 0; i < shape.indices; ++i) {
        const int64_t at = (o * shape.indices + i) * shape.inner + k;
        to[at] = from[(o * shape.length + index[at]) * shape.inner + k];
      }
    });
  });
}

template <class T>
void scatter_add(const IndexShape& shape, const T* x, const int64_t* index, T* out) {
  using C = compute_t<T>;
  for_each_line(shape, [&](int64_t o, int64_t k) {
    for (int64_t i = 0; i < shape.indices; ++i) {
      const int64_t at = (o * shape.indices + i) * shape.inner + k;
      T& target = out[(o * shape.length + index[at]) * shape.inner + k];
      target = static_cast<T>(static_cast<C>(target) + static_cast<C>(x[at]));
    }
  });
}

void scatter(const IndexShape& shape, size_t element_size, const void* x, const int64_t* index,
             void* out) {
  with_bits(element_size, x, out, [&](auto* from, auto* to) {
    for_each_line(shape, [&](int64_t o, int64_t k) {
      for (int64_t i = 0; i < shape.indices; ++i) {
        const int64_t at = (o * shape.indices + i) * shape.inner + k;
        to[(o * shape.length + index[at]) * shape.inner + k] = from[at];
      }
    });
  });
}

int64_t first_bad_index(int64_t count, int64_t length, const int64_t* index) {
  for (int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= length) return i;
  }
  return -1;
}

#define PLINTH_INSTANTIATE(T)                                                  \
  template void index_add<T>(const IndexShape&, const T*, const int64_t*, T*); \
  template void scatter_add<T>(const IndexShape&, const T*, const int64_t*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
