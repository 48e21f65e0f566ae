#pragma once

// The fused loss for a vocabulary so small that whole rows of logits stay in cache: a chunk of rows
// at a time, logits, softmax and both gradients by the general matrix product.

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/matmul/matmul.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/scratch.h"
#include "kernels/vector_math.h"

namespace plinth::kernels::cpu::linear_cross_entropy_detail {

inline constexpr int64_t kChunkBytes = 4 << 20;
inline constexpr int64_t kMinRows = 64;

// Replaces a row's logits z by dz and returns its loss.
template <class C>
C loss_of_row(const LinearCrossEntropyDesc& d, int64_t target, C row_scale, C* z) {
  const C target_logit = z[target];
  const C top = max_over(d.vocab, z);
  const C sum =
      d.label_smoothing > 0 ? sum_over<C>(d.vocab, [&](int64_t j) { return z[j]; }) : C(0);
#pragma omp simd
  for (int64_t j = 0; j < d.vocab; ++j) z[j] = math::exp(z[j] - top);
  const C total = sum_over<C>(d.vocab, [&](int64_t j) { return z[j]; });
  const C lse = top + std::log(total);
  const C smooth = C(d.label_smoothing) / static_cast<C>(d.vocab);
  const C factor = row_scale * (1 + 2 * C(d.z_loss) * lse) / total, shift = row_scale * smooth;
#pragma omp simd
  for (int64_t j = 0; j < d.vocab; ++j) z[j] = z[j] * factor - shift;
  z[target] -= row_scale * (1 - C(d.label_smoothing));
  return lse - (1 - C(d.label_smoothing)) * target_logit - smooth * sum + C(d.z_loss) * lse * lse;
}

template <class T>
void in_rows(const LinearCrossEntropyDesc& d, const T* x, const T* w, const int64_t* target,
             compute_t<T>* loss, T* dx, compute_t<T>* dw, compute_t<T> row_scale) {
  using C = compute_t<T>;
  static thread_local Scratch logit_scratch, x_scratch, w_scratch, dx_scratch;
  const int64_t row_bytes = std::max<int64_t>(1, d.vocab) * sizeof(C);
  const int64_t chunk = std::min(d.rows, std::max(kMinRows, kChunkBytes / row_bytes));
  C* z = logit_scratch.get<C>(chunk * d.vocab);
  // Narrow types are widened, so that logits and their gradients are never rounded.
  const auto wide = [](Scratch& scratch, int64_t count, const T* from) -> const C* {
    if constexpr (is_wide<T>) {
      return from;
    } else {
      C* to = scratch.get<C>(count);
      parallel_for(count, grain_for(1), [&](int64_t begin, int64_t end) {
        widen(end - begin, from + begin, to + begin);
      });
      return to;
    }
  };
  const C* w_wide = wide(w_scratch, d.vocab * d.dim, w);
  for (int64_t first = 0; first < d.rows; first += chunk) {
    const int64_t rows = std::min(chunk, d.rows - first);
    const C* x_wide = wide(x_scratch, rows * d.dim, x + first * d.dim);
    matmul<C>({1, rows, d.vocab, d.dim, {0, d.dim, 1}, {0, 1, d.dim}, {0, d.vocab, 1}}, x_wide,
              w_wide, z);
    parallel_for(rows, grain_for(d.vocab), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        loss[first + r] = loss_of_row(d, target[first + r], row_scale, z + r * d.vocab);
      }
    });
    if (dx != nullptr) {
      C* dx_wide;
      if constexpr (is_wide<T>) {
        dx_wide = dx + first * d.dim;
      } else {
        dx_wide = dx_scratch.get<C>(rows * d.dim);
      }
      matmul<C>({1, rows, d.dim, d.vocab, {0, d.vocab, 1}, {0, d.dim, 1}, {0, d.dim, 1}}, z, w_wide,
                dx_wide);
      if constexpr (!is_wide<T>) narrow(rows * d.dim, dx_wide, dx + first * d.dim);
    }
    if (dw != nullptr) {
      matmul<C>({1, d.vocab, d.dim, rows, {0, 1, d.vocab}, {0, d.dim, 1}, {0, d.dim, 1}, true}, z,
                x_wide, dw);
    }
  }
}

}  // namespace plinth::kernels::cpu::linear_cross_entropy_detail
