#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <utility>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

namespace {

// The tokens in the order of their ids, equal ids in the order of the tokens (a counting sort).
class SortedTokens {
 public:
  SortedTokens(int64_t n, int64_t vocab, const int64_t* ids) : ids_(ids) {
    thread_local Scratch scratch;
    int64_t* next = scratch.get<int64_t>(vocab + n);
    order_ = next + vocab;
    std::fill_n(next, vocab, 0);
    for (int64_t i = 0; i < n; ++i) ++next[ids[i]];
    int64_t start = 0;
    for (int64_t v = 0; v < vocab; ++v) start += std::exchange(next[v], start);
    for (int64_t i = 0; i < n; ++i) order_[next[ids[i]]++] = i;
  }
  int64_t token(int64_t k) const { return order_[k]; }
  int64_t id(int64_t k) const { return ids_[order_[k]]; }
  // Whether place k has the id of the place before it.
  bool continues(int64_t k) const { return k > 0 && id(k) == id(k - 1); }

 private:
  const int64_t* ids_;
  int64_t* order_;
};

// sum += the rows of dy at kRows sorted places from k on.
template <int kRows, class T>
PLINTH_INLINE void add_tokens(const SortedTokens& sorted, int64_t k, int64_t dim, const T* dy,
                              compute_t<T>* sum) {
  const T* row[kRows];
  for (int r = 0; r < kRows; ++r) row[r] = dy + sorted.token(k + r) * dim;
  for_vectors<compute_t<T>>(dim, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    auto v = load(row[0] + j, part);
    for (int r = 1; r < kRows; ++r) v += load(row[r] + j, part);
    store(sum + j, load(sum + j, part) + v, part);
  });
}

template <class T>
void add_run(const SortedTokens& sorted, int64_t first, int64_t last, int64_t dim, const T* dy,
             compute_t<T>* sum) {
  for (; first + 4 <= last; first += 4) add_tokens<4>(sorted, first, dim, dy, sum);
  for (; first < last; ++first) add_tokens<1>(sorted, first, dim, dy, sum);
}

}  // namespace

template <class T>
void embedding_forward(int64_t n, int64_t /*vocab*/, int64_t dim, const int64_t* ids, const T* w,
                       T* y) {
  parallel_for(n, grain_for(dim), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(w + ids[i] * dim, dim, y + i * dim);
    }
  });
}

// The sorted tokens are cut into blocks, so that one frequent id does not keep one thread busy. A
// run of equal ids is summed into dw by the block in which it starts; a block whose first run
// started earlier sums that part into a row of its own, which is added to dw at the end in order of
// blocks.
template <class T>
void embedding_backward(int64_t n, int64_t vocab, int64_t dim, const int64_t* ids, const T* dy,
                        compute_t<T>* dw) {
  using C = compute_t<T>;
  const SortedTokens sorted(n, vocab, ids);
  const int64_t block = std::max<int64_t>(32, grain_for(dim));
  const int64_t blocks = (n + block - 1) / block;
  thread_local Scratch scratch;
  C* carried = scratch.get<C>(blocks * dim);
  parallel_for(n, block, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end;) {
      const int64_t id = sorted.id(first);
      int64_t last = first + 1;
      while (last < end && sorted.id(last) == id) ++last;
      C* sum = dw + id * dim;
      if (first == begin && sorted.continues(begin)) {
        sum = carried + begin / block * dim;
        std::fill_n(sum, dim, C(0));
      }
      add_run(sorted, first, last, dim, dy, sum);
      first = last;
    }
  });
  for (int64_t b = 1; b < blocks; ++b) {
    if (!sorted.continues(b * block)) continue;
    C* sum = dw + sorted.id(b * block) * dim;
    for (int64_t j = 0; j < dim; ++j) sum[j] += carried[b * dim + j];
  }
}

#define INSTANTIATE(T)                                                                      \
  template void embedding_forward(int64_t, int64_t, int64_t, const int64_t*, const T*, T*); \
  template void embedding_backward(int64_t, int64_t, int64_t, const int64_t*, const T*,     \
                                   compute_t<T>*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
