#pragma once

// The tap of weights.h on a stream. All pointers are the device's. A block takes a row; it is bound
// by reading k, of which only the second cache saves rows of one head a part.

#include "kernels/attention/weights.h"

namespace plinth::kernels::cuda {

template <class T>
void attention_weights(void* stream, const cpu::AttentionDesc& desc, int64_t head_count,
                       const int64_t* heads, int64_t row_count, const int64_t* rows, const T* q,
                       const T* k, compute_t<T>* weights);

}  // namespace plinth::kernels::cuda
