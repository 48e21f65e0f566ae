#pragma once

// The maximum of a row and the sum of its exponentials relative to it, in one pass over the row
// (Milakov & Gimelshein 2018, arXiv 1805.02867).

#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {

// Of what one thread has seen; after join(), of the block's row. A row that is -inf throughout ends
// with max = -inf, and NaN or +inf with a sum of NaN, as the formula has it.
template <class T>
struct OnlineSoftmax {
  using C = compute_t<T>;
  C max = -std::numeric_limits<C>::infinity();
  C sum = 0;

  // What exponentials are relative to: exp(-inf - 0) = 0 while nothing finite was seen.
  PLINTH_DEVICE static C origin(C max) {
    return max == -std::numeric_limits<C>::infinity() ? C(0) : max;
  }

  template <int n>
  PLINTH_DEVICE void add(const C (&values)[n]) {
    C most = max;
    PLINTH_UNROLL
    for (int e = 0; e < n; ++e) most = Max{}(values[e], most);
    sum *= exp_as<T>(max - origin(most));
    PLINTH_UNROLL
    for (int e = 0; e < n; ++e) sum += exp_as<T>(values[e] - origin(most));
    max = most;
  }

  PLINTH_DEVICE void join(const Scratch<C>& scratch) {
    const C most = block_reduce<Max>(max, -std::numeric_limits<C>::infinity(), scratch.first);
    sum = block_reduce<Sum>(sum * exp_as<T>(max - origin(most)), C(0), scratch.second);
    max = most;
  }
};

}  // namespace plinth::kernels::cuda
