#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include "kernels/instantiate.h"
#include "kernels/linear_cross_entropy/in_rows.h"
#include "kernels/linear_cross_entropy/in_tiles.h"

namespace plinth::kernels::cpu {

namespace {

// From here on, tiles of the vocabulary beat whole rows of logits.
constexpr int64_t kLargeVocabulary = 2048;

// Every row counts.
template <class T>
void counted_rows(const LinearCrossEntropyDesc& d, const T* x, const T* w, const int64_t* target,
                  compute_t<T>* loss, T* dx, compute_t<T>* dw, compute_t<T> row_scale) {
  using namespace linear_cross_entropy_detail;
  if (d.rows == 0) return;
  if (d.vocab >= kLargeVocabulary) {
    InTiles<T>(d, w, dx, dw, row_scale).run(x, target, loss);
  } else {
    in_rows(d, x, w, target, loss, dx, dw, row_scale);
  }
}

}  // namespace

// Rows that are ignored (padding, or all but the masked tokens of a masked language model) are left
// out by gathering the others.
template <class T>
void linear_cross_entropy(const LinearCrossEntropyDesc& d, const T* x, const T* w,
                          const int64_t* target, compute_t<T>* loss, T* dx, compute_t<T>* dw,
                          compute_t<T> row_scale) {
  using C = compute_t<T>;
  static thread_local Scratch row_scratch, x_scratch, dx_scratch, target_scratch, loss_scratch;
  int64_t* counted = row_scratch.get<int64_t>(d.rows);
  LinearCrossEntropyDesc gathered = d;
  gathered.rows = 0;
  for (int64_t r = 0; r < d.rows; ++r)
    if (target[r] != d.ignore_index) counted[gathered.rows++] = r;
  if (gathered.rows == d.rows) return counted_rows(d, x, w, target, loss, dx, dw, row_scale);

  T* x_rows = x_scratch.get<T>(gathered.rows * d.dim);
  T* dx_rows = dx == nullptr ? nullptr : dx_scratch.get<T>(gathered.rows * d.dim);
  int64_t* targets = target_scratch.get<int64_t>(gathered.rows);
  C* losses = loss_scratch.get<C>(gathered.rows);
  for (int64_t r = 0; r < gathered.rows; ++r) {
    std::copy_n(x + counted[r] * d.dim, d.dim, x_rows + r * d.dim);
    targets[r] = target[counted[r]];
  }
  counted_rows(gathered, x_rows, w, targets, losses, dx_rows, dw, row_scale);
  std::fill_n(loss, d.rows, C(0));
  if (dx != nullptr) std::fill_n(dx, d.rows * d.dim, T{});
  for (int64_t r = 0; r < gathered.rows; ++r) {
    loss[counted[r]] = losses[r];
    if (dx != nullptr) std::copy_n(dx_rows + r * d.dim, d.dim, dx + counted[r] * d.dim);
  }
}

#define PLINTH_INSTANTIATE(T)                                                           \
  template void linear_cross_entropy(const LinearCrossEntropyDesc&, const T*, const T*, \
                                     const int64_t*, compute_t<T>*, T*, compute_t<T>*,  \
                                     compute_t<T>);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
