#pragma once

// Cross-entropy of materialised logits on the GPU: the contract of cross_entropy.h, on device
// pointers and a stream.
//
// Trick: forward reads a row once, maximum and sum of exponentials being found together
// (online_softmax.cuh). Bound: forward moves rows classes sizeof(T) bytes, backward twice that;
// about 10 operations and one exponential an element. Accesses have 16 bytes whatever the number
// of classes, but for a row's first and last elements.
//
// A target that is neither ignore_index nor a class gives a loss of NaN, and reads nothing.

#include <cstdint>

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/index/index_fault.h"
#include "kernels/types.h"

namespace plinth::kernels::cuda {

using cpu::CrossEntropyDesc;

template <class T>
void cross_entropy_forward(void* stream, const CrossEntropyDesc& desc, const T* logits,
                           const int64_t* target, compute_t<T>* loss, compute_t<T>* lse);

template <class T>
void cross_entropy_backward(void* stream, const CrossEntropyDesc& desc, const compute_t<T>* dloss,
                            const T* logits, const int64_t* target, const compute_t<T>* lse,
                            T* dlogits);

// *scale, on the device: what turns the sum of the rows' losses into the mean over targets that are
// not ignored, 1 / their count; 0 where there are none. C: double, float. Reads the targets once.
template <class C>
void mean_scale(void* stream, int64_t rows, int64_t ignore_index, const int64_t* target, C* scale);

// If first_bad_target() of cross_entropy.h would find a row, and *fault holds none yet (its check
// is 0), writes `check`, which is not 0, and the row's target there. *fault is device memory or
// pinned host memory; the host reads it when the device has no work left.
void report_bad_target(void* stream, int64_t rows, int64_t classes, int64_t ignore_index,
                       const int64_t* target, uint32_t check, IndexFault* fault);

}  // namespace plinth::kernels::cuda
