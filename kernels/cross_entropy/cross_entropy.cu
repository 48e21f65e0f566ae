#include "kernels/cross_entropy/cross_entropy_cuda.h"

#include "kernels/first_outside_cuda.cuh"
#include "kernels/instantiate.h"
#include "kernels/softmax/online_softmax.cuh"

namespace plinth::kernels::cuda {
namespace {

template <class T>
PLINTH_KERNEL void forward_kernel(int64_t classes, int64_t ignore_index, compute_t<T> smoothing,
                                  int64_t offset, Global<const T> logits,
                                  Global<const int64_t> target, Global<compute_t<T>> loss,
                                  Global<compute_t<T>> lse) {
  using C = compute_t<T>;
  const Scratch<C> scratch;
  const int64_t row = block_index().x, at = row * classes;
  OnlineSoftmax<T> online;
  C plain = 0;
  for_row<T>(at, classes, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    read<T>(logits + at + j, v);
    online.add(v);
    if (smoothing != 0) {
      for (int e = 0; e < part.kSize; ++e) plain += v[e];
    }
  });
  online.join(scratch);
  if (smoothing != 0) plain = block_reduce<Sum>(plain, C(0), scratch.first);
  if (thread_index() != 0) return;
  const C row_lse = online.max + std::log(online.sum);
  lse[row] = row_lse;
  const int64_t t = target[row];
  if (t == ignore_index) {
    loss[row] = C(0);
  } else if (t < 0 || t >= classes) {
    loss[row] = std::numeric_limits<C>::quiet_NaN();
  } else {
    const T at_target = logits[at + t];
    C sum = (1 - smoothing) * (row_lse - C(at_target));
    if (smoothing != 0) sum += smoothing * (row_lse - plain / static_cast<C>(classes));
    loss[row] = sum;
  }
}

template <class T>
PLINTH_KERNEL void backward_kernel(int64_t classes, int64_t ignore_index, compute_t<T> smoothing,
                                   int64_t offset, Global<const compute_t<T>> dloss,
                                   Global<const T> logits, Global<const int64_t> target,
                                   Global<const compute_t<T>> lse, Global<T> dlogits) {
  using C = compute_t<T>;
  const int64_t row = block_index().x, at = row * classes;
  const int64_t t = target[row];
  const C scale = dloss[row], row_lse = lse[row];
  const C uniform = smoothing / static_cast<C>(classes);
  const bool ignored = t == ignore_index;
  for_row<T>(at, classes, offset, [&](int64_t j, auto part) {
    C v[part.kSize];
    if (ignored) {
      for (int e = 0; e < part.kSize; ++e) v[e] = 0;
    } else {
      read<T>(logits + at + j, v);
      for (int e = 0; e < part.kSize; ++e) {
        v[e] = exp_as<T>(v[e] - row_lse) - uniform;
        if (j + e == t) v[e] -= 1 - smoothing;
        v[e] *= scale;
      }
    }
    write<T>(dlogits + at + j, v);
  });
}

constexpr uint32_t kScaleThreads = 1024;

// One block counts the rows that are not ignored.
template <class C>
PLINTH_KERNEL void mean_scale_kernel(int64_t rows, int64_t ignore_index,
                                     Global<const int64_t> target, Global<C> scale) {
  int64_t count = 0;
  for (int64_t row = thread_index(); row < rows; row += block_threads()) {
    const int64_t t = target[row];
    if (t != ignore_index) ++count;
  }
  count = block_reduce<Sum>(count, int64_t{0}, shared_array<int64_t>(0, 32));
  if (thread_index() == 0)
    scale[0] = count > 0 ? static_cast<C>(1 / static_cast<double>(count)) : C(0);
}

}  // namespace

template <class T>
void cross_entropy_forward(void* stream, const CrossEntropyDesc& desc, const T* logits,
                           const int64_t* target, compute_t<T>* loss, compute_t<T>* lse) {
  using C = compute_t<T>;
  if (desc.rows == 0) return;
  launch("cross_entropy_forward", forward_kernel<T>, shape_of_walks<C>(desc.rows, desc.classes),
         static_cast<Stream>(stream), desc.classes, desc.ignore_index,
         static_cast<C>(desc.label_smoothing), common_offset(logits), logits, target, loss, lse);
}

template <class T>
void cross_entropy_backward(void* stream, const CrossEntropyDesc& desc, const compute_t<T>* dloss,
                            const T* logits, const int64_t* target, const compute_t<T>* lse,
                            T* dlogits) {
  using C = compute_t<T>;
  if (desc.rows == 0) return;
  launch("cross_entropy_backward", backward_kernel<T>, shape_of_walks<C>(desc.rows, desc.classes),
         static_cast<Stream>(stream), desc.classes, desc.ignore_index,
         static_cast<C>(desc.label_smoothing), common_offset(logits, dlogits), dloss, logits,
         target, lse, dlogits);
}

template <class C>
void mean_scale(void* stream, int64_t rows, int64_t ignore_index, const int64_t* target, C* scale) {
  launch("mean_scale", mean_scale_kernel<C>, {{1}, {kScaleThreads}, 32 * sizeof(int64_t)},
         static_cast<Stream>(stream), rows, ignore_index, target, scale);
}

void report_bad_target(void* stream, int64_t rows, int64_t classes, int64_t ignore_index,
                       const int64_t* target, uint32_t check, IndexFault* fault) {
  report_outside(stream, rows, {.limit = classes, .has_exempt = true, .exempt = ignore_index},
                 target, check, fault);
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template void cross_entropy_forward<T>(void*, const CrossEntropyDesc&, const T*, const int64_t*, \
                                         compute_t<T>*, compute_t<T>*);                            \
  template void cross_entropy_backward<T>(void*, const CrossEntropyDesc&, const compute_t<T>*,     \
                                          const T*, const int64_t*, const compute_t<T>*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE
template void mean_scale<double>(void*, int64_t, int64_t, const int64_t*, double*);
template void mean_scale<float>(void*, int64_t, int64_t, const int64_t*, float*);

}  // namespace plinth::kernels::cuda
