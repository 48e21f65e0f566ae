#include "kernels/linear_cross_entropy/linear_cross_entropy_cuda.h"

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

// dz of a row from its maximum and sum; `t` is -1 where the row is ignored.
template <class Z, class D>
PLINTH_DEVICE void write_gradient(const Terms<compute_t<Z>>& terms, int64_t at, int64_t offset,
                                  int64_t t, const OnlineSoftmax<Z>& row, compute_t<Z> lse,
                                  Global<const Z> z, Global<D> dz) {
  using C = compute_t<Z>;
  C scale = 1;
  if (terms.row_scale) scale = terms.row_scale[0];
  const C factor = scale * (1 + 2 * terms.z_loss * lse) / row.sum;
  const C uniform = scale * terms.smoothing / static_cast<C>(terms.vocab);
  const C at_target = scale * (1 - terms.smoothing);
  for_row<Z>(at, terms.vocab, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    if (t < 0) {
      for (int e = 0; e < part.kSize; ++e) v[e] = 0;
    } else {
      read<Z>(z + at + j, v);
      for (int e = 0; e < part.kSize; ++e) {
        v[e] = exp_as<Z>(v[e] - row.max) * factor - uniform;
        if (j + e == t) v[e] -= at_target;
      }
    }
    write<D>(dz + at + j, v);
  });
}

template <class Z, class D>
PLINTH_KERNEL void rows_kernel(Terms<compute_t<Z>> terms, int64_t stride, int64_t offset,
                               Global<const Z> z, Global<const int64_t> target,
                               Global<compute_t<Z>> loss, Global<D> dz) {
  using C = compute_t<Z>;
  const Scratch<C> scratch;
  const int64_t row = block_index().x, at = row * stride;
  const int64_t t = target[row];
  OnlineSoftmax<Z> online;
  if (t == terms.ignore_index) {
    if (thread_index() == 0) loss[row] = C(0);
    if (dz) write_gradient<Z, D>(terms, at, offset, -1, online, C(0), z, dz);
    return;
  }
  const bool valid = t >= 0 && t < terms.vocab;
  C at_target = std::numeric_limits<C>::quiet_NaN();
  if (valid) at_target = C(Z(z[at + t]));  // before dz is written over it
  C plain = 0;
  for_row<Z>(at, terms.vocab, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<Z>(z + at + j, v);
    online.add(v);
    if (terms.smoothing != 0) {
      for (int e = 0; e < part.kSize; ++e) plain += v[e];
    }
  });
  online.join(scratch);
  if (terms.smoothing != 0) plain = block_reduce<Sum>(plain, C(0), scratch.first);
  const C lse = online.max + std::log(online.sum);
  if (thread_index() == 0) {
    loss[row] = lse - (1 - terms.smoothing) * at_target -
                terms.smoothing / static_cast<C>(terms.vocab) * plain + terms.z_loss * lse * lse;
  }
  if (dz) write_gradient<Z, D>(terms, at, offset, valid ? t : terms.vocab, online, lse, z, dz);
}

// Elements beyond a boundary of whole vectors of Z; of D there are as many in a vector.
template <class Z, class P>
int64_t offset_of(const P* p) {
  return static_cast<int64_t>(std::bit_cast<uintptr_t>(p) / sizeof(P) % kVectorWidth<Z>);
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
  const int64_t offset = offset_of<Z>(z);
  const bool same = dz == nullptr || offset_of<Z>(dz) == offset;
  launch("linear_cross_entropy_rows", rows_kernel<Z, D>, shape_of_walks<C>(desc.rows, desc.vocab),
         static_cast<Stream>(stream), terms, stride, same ? offset : int64_t{-1}, z, target, loss,
         dz);
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
