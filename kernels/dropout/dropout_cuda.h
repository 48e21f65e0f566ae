#pragma once

// Dropout on the GPU: the contract of dropout.h, on device pointers and a stream. The mask has the
// bits of the CPU's, and so has the result.
//
// A thread makes the Philox blocks of one 16-byte vector (of four elements, for float64). Bound: 2
// sizeof(T) bytes an element, and about 20 integer operations an element for its random word, most
// of them the multiplications of ten rounds: as much time as the memory takes for float32, more
// for 16-bit types. Samples that are not whole vectors, or pointers that are not aligned, are read
// element by element. A key with a place costs ten more rounds a thread. A part whose runs do not
// begin at multiples of four words costs a Philox block an element.

#include <cstdint>

#include "kernels/dropout/dropout.h"

namespace plinth::kernels::cuda {

template <class T>
void dropout_forward(void* stream, int64_t n_samples, int64_t elements_per_sample, double p,
                     const PhiloxKey& key, const T* x, T* y, const DropoutPart& part = {});

}  // namespace plinth::kernels::cuda
