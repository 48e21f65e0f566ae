#include "kernels/linear_cross_entropy/linear_cross_entropy_cuda.h"

#include <algorithm>

#include "kernels/instantiate.h"
#include "kernels/softmax/online_softmax.cuh"

namespace plinth::kernels::cuda {
namespace {

// What the formulas need of the description, in the type that computes them.
template <class C>
struct Terms {
  int64_t vocab, ignore_index;
  C smoothing, z_loss;
  Global<const C> row_scale;  // null: 1
};

// A thread's columns of a row of logits, read from global memory each time.
template <class Z>
struct ReadRow {
  Global<const Z> z;
  int64_t at, cols, offset;

  // Calls f(column, Part, values).
  template <class F>
  PLINTH_DEVICE void each(F f) const {
    for_row<Z>(at, cols, offset, [&](int64_t j, auto part) {
      compute_t<Z> v[part.kSize];
      read<Z>(z + at + j, v);
      f(j, part, v);
    });
  }
};

// A thread's columns of a row that the block keeps in shared memory. Each thread copies and reads
// its own, and so waits for nobody.
struct KeptRow {
  Shared<float> kept;
  int64_t cols;

  PLINTH_DEVICE void fetch(Global<const float> row) const {
    for_row<float>(0, cols, 0, [&](int64_t j, auto part) { fetch(row, j, part); });
  }
  template <class P>
  PLINTH_DEVICE void fetch(Global<const float> row, int64_t j, P) const {
    copy_async<P::kSize * sizeof(float)>(kept + j, row + j);
  }
  template <class F>
  PLINTH_DEVICE void each(F f) const {
    for_row<float>(0, cols, 0, [&](int64_t j, auto part) {
      float v[part.kSize];
      widened(load_vector<Vector<float, part.kSize>>(kept + j), v);
      f(j, part, v);
    });
  }
};

// What a row's maximum and sum make of its logits.
template <class Z>
struct Softmax {
  OnlineSoftmax<Z> online;
  compute_t<Z> lse = 0;
};

template <class Z>
PLINTH_DEVICE bool is_valid(const Terms<compute_t<Z>>& terms, int64_t t) {
  return t >= 0 && t < terms.vocab;
}

// Writes the loss of a row whose target is not ignored.
template <class Z, class Row>
PLINTH_DEVICE Softmax<Z> row_loss(const Terms<compute_t<Z>>& terms, const Row& row, int64_t t,
                                  Global<const Z> z, Global<compute_t<Z>> loss,
                                  const Scratch<compute_t<Z>>& scratch) {
  using C = compute_t<Z>;
  C at_target = std::numeric_limits<C>::quiet_NaN();
  if (is_valid<Z>(terms, t)) at_target = C(Z(z[t]));  // before dz is written over it
  Softmax<Z> softmax;
  C plain = 0;
  row.each([&]<int n>(int64_t, Part<n>, C(&v)[n]) {
    softmax.online.add(v);
    if (terms.smoothing != 0) {
      for (int e = 0; e < n; ++e) plain += v[e];
    }
  });
  softmax.online.join(scratch);
  if (terms.smoothing != 0) plain = block_reduce<Sum>(plain, C(0), scratch.first);
  const C lse = softmax.lse = softmax.online.max + std::log(softmax.online.sum);
  if (thread_index() == 0) {
    loss[0] = lse - (1 - terms.smoothing) * at_target -
              terms.smoothing / static_cast<C>(terms.vocab) * plain + terms.z_loss * lse * lse;
  }
  return softmax;
}

// dz of such a row; after_read(column, Part) is called when those logits are used up.
template <class Z, class D, class Row, class F>
PLINTH_DEVICE void write_gradient(const Terms<compute_t<Z>>& terms, const Row& row, int64_t t,
                                  const Softmax<Z>& softmax, Global<D> dz, F after_read) {
  using C = compute_t<Z>;
  C scale = 1;
  if (terms.row_scale) scale = terms.row_scale[0];
  const C factor = scale * (1 + 2 * terms.z_loss * softmax.lse) / softmax.online.sum;
  const C uniform = scale * terms.smoothing / static_cast<C>(terms.vocab);
  const C at_target = scale * (1 - terms.smoothing);
  row.each([&]<int n>(int64_t j, Part<n> part, C(&v)[n]) {
    after_read(j, part);
    for (int e = 0; e < n; ++e) {
      v[e] = exp_as<Z>(v[e] - softmax.online.max) * factor - uniform;
      if (j + e == t) v[e] -= at_target;
    }
    write<D>(dz + j, v);
  });
}

// The loss and the gradient of an ignored row.
template <class Z, class D, class F>
PLINTH_DEVICE void ignore_row(int64_t at, int64_t cols, int64_t offset, Global<compute_t<Z>> loss,
                              Global<D> dz, F each_column) {
  if (thread_index() == 0) loss[0] = compute_t<Z>(0);
  if (!dz) return;
  for_row<Z>(at, cols, offset, [&](int64_t j, auto part) {
    each_column(j, part);
    const compute_t<Z> zeros[part.kSize] = {};
    write<D>(dz + j, zeros);
  });
}

// A block a row.
template <class Z, class D>
PLINTH_KERNEL void rows_kernel(Terms<compute_t<Z>> terms, int64_t stride, int64_t offset,
                               Global<const Z> z, Global<const int64_t> target,
                               Global<compute_t<Z>> loss, Global<D> dz) {
  const Scratch<compute_t<Z>> scratch;
  const int64_t number = block_index().x, at = number * stride;
  const int64_t t = target[number];
  const auto nothing = [](int64_t, auto) {};
  if (dz) dz = dz + at;
  if (t == terms.ignore_index)
    return ignore_row<Z>(at, terms.vocab, offset, loss + number, dz, nothing);
  const ReadRow<Z> row{z, at, terms.vocab, offset};
  const Softmax<Z> softmax = row_loss<Z>(terms, row, t, z + at, loss + number, scratch);
  if (dz) write_gradient<Z>(terms, row, t, softmax, dz, nothing);
}

// A block for every so many rows, which takes one after the other: while the gradient of one is
// written, the next comes. For rows of whole vectors.
template <class D>
PLINTH_KERNEL_BOUNDS(1024, 1)
PLINTH_KERNEL
    void kept_rows_kernel(Terms<float> terms, int64_t rows, int64_t stride, Global<const float> z,
                          Global<const int64_t> target, Global<float> loss, Global<D> dz) {
  Scratch<float> scratch;
  const KeptRow row{shared_array<float>(kScratchBytes<float>, static_cast<size_t>(terms.vocab)),
                    terms.vocab};
  const int64_t blocks = grid_blocks().x;
  row.fetch(z + block_index().x * stride);
  copy_async_commit();
  for (int64_t number = block_index().x; number < rows; number += blocks) {
    copy_async_wait<0>();
    const int64_t t = target[number], at = number * stride;
    const auto fetch_next = [&](int64_t j, auto part) {
      if (number + blocks < rows) row.fetch(z + at + blocks * stride, j, part);
    };
    if (t == terms.ignore_index) {
      ignore_row<float>(0, terms.vocab, 0, loss + number, dz + at, fetch_next);
    } else {
      const Softmax<float> softmax = row_loss<float>(terms, row, t, z + at, loss + number, scratch);
      write_gradient<float>(terms, row, t, softmax, dz + at, fetch_next);
      // Three reductions: the next row's first must not be the last's place.
      if (terms.smoothing != 0) scratch = {scratch.second, scratch.first};
    }
    copy_async_commit();
  }
}

// The bytes of shared memory in which kept_rows_kernel keeps a row; 0 where rows_kernel is better,
// as for rows that the second cache holds, or alone possible.
template <class Z, class D>
size_t bytes_to_keep(int64_t vocab, int64_t stride, const Z* z, const D* dz) {
  constexpr int64_t kShort = 32768;
  const size_t bytes = kScratchBytes<float> + static_cast<size_t>(vocab) * sizeof(float);
  const bool aligned = stride % kVectorWidth<float> == 0 && common_offset(z, dz) == 0;
  return dz && aligned && vocab > kShort && bytes <= device_limits().shared_bytes ? bytes : 0;
}

}  // namespace

template <class Z, class D>
void linear_cross_entropy_rows(void* stream, const LinearCrossEntropyDesc& desc, int64_t stride,
                               const Z* z, const int64_t* target, compute_t<Z>* loss, D* dz,
                               const compute_t<Z>* row_scale) {
  using C = compute_t<Z>;
  if (desc.rows == 0) return;
  const Terms<C> terms{desc.vocab, desc.ignore_index, static_cast<C>(desc.label_smoothing),
                       static_cast<C>(desc.z_loss), row_scale};
  if constexpr (std::is_same_v<Z, float>) {
    if (const size_t bytes = bytes_to_keep(desc.vocab, stride, z, dz); bytes > 0) {
      const int64_t blocks = std::min<int64_t>(desc.rows, device_limits().multiprocessors);
      return launch("linear_cross_entropy_kept_rows", kept_rows_kernel<D>,
                    LaunchShape{{static_cast<uint32_t>(blocks)}, {1024}, bytes},
                    static_cast<Stream>(stream), terms, desc.rows, stride, z, target, loss, dz);
    }
  }
  launch("linear_cross_entropy_rows", rows_kernel<Z, D>, shape_of_walks<C>(desc.rows, desc.vocab),
         static_cast<Stream>(stream), terms, stride, common_offset(z, dz), z, target, loss, dz);
}

#define PLINTH_INSTANTIATE_PAIR(Z, D)                                                          \
  template void linear_cross_entropy_rows<Z, D>(void*, const LinearCrossEntropyDesc&, int64_t, \
                                                const Z*, const int64_t*, compute_t<Z>*, D*,   \
                                                const compute_t<Z>*);
#define PLINTH_INSTANTIATE(T) PLINTH_INSTANTIATE_PAIR(T, T)
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
PLINTH_INSTANTIATE_PAIR(float, BFloat16)
PLINTH_INSTANTIATE_PAIR(float, Float16)
#undef PLINTH_INSTANTIATE
#undef PLINTH_INSTANTIATE_PAIR

}  // namespace plinth::kernels::cuda
