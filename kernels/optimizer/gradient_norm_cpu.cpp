#include <atomic>
#include <cmath>
#include <numeric>

#include "kernels/instantiate.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/tensor_list.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {
namespace {

constexpr int64_t kBlock = kNormChunk;

// Calls body(t, block, begin, end) for the fixed blocks of each tensor, numbered through the list.
template <class G, class Body>
int64_t for_each_block(std::span<const std::span<const G>> tensors, Body&& body) {
  std::vector<int64_t> first(tensors.size() + 1, 0);
  for (size_t t = 0; t < tensors.size(); ++t) {
    const auto n = static_cast<int64_t>(tensors[t].size());
    first[t + 1] = first[t] + (n + kBlock - 1) / kBlock;
  }
  parallel_for(first.back(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t t = std::upper_bound(first.begin(), first.end(), block) - first.begin() - 1;
      const int64_t at = (block - first[t]) * kBlock;
      body(tensors[t].subspan(at, std::min<int64_t>(kBlock, tensors[t].size() - at)), block);
    }
  });
  return first.back();
}

// Squares of v added to two accumulators of doubles.
PLINTH_INLINE void add_squares(Vec<double> v, Vec<double>& even, Vec<double>&) {
  even += v * v;
}
PLINTH_INLINE void add_squares(Vec<float> v, Vec<double>& even, Vec<double>& odd) {
  using Half = std::make_index_sequence<kLanes<double>>;
  const auto low = __builtin_convertvector(detail::lower_half(v, Half{}), Vec<double>);
  const auto high = __builtin_convertvector(detail::upper_half(v, Half{}), Vec<double>);
  even += low * low;
  odd += high * high;
}

double pairwise_sum(const double* x, int64_t n) {
  if (n <= 8) return std::accumulate(x, x + n, 0.0);
  const int64_t half = n / 2;
  return pairwise_sum(x, half) + pairwise_sum(x + half, n - half);
}

// partial gets the sums of the tensors' blocks.
template <class G>
void add_squares_of_blocks(std::span<const std::span<const G>> tensors, double* partial) {
  for_each_block(tensors, [&](std::span<const G> x, int64_t block) {
    const G* data = x.data();
    Sums<double> even, odd;
    for_vectors<compute_t<G>>(static_cast<int64_t>(x.size()),
                              [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
                                add_squares(load(data + j, part), even[slot], odd[slot]);
                              });
    partial[block] = even.total() + odd.total();
  });
}

}  // namespace

template <class G>
double sum_of_squares(std::span<const std::span<const G>> tensors) {
  int64_t blocks = 0;
  for (const auto& tensor : tensors) {
    blocks += (static_cast<int64_t>(tensor.size()) + kBlock - 1) / kBlock;
  }
  std::vector<double> partial(blocks);
  add_squares_of_blocks(tensors, partial.data());
  return sum_of_chunks(partial);
}

template <class G>
void chunk_sums_of_squares(std::span<const G> tensor, double* sums) {
  add_squares_of_blocks(std::span<const std::span<const G>>(&tensor, 1), sums);
}

double sum_of_chunks(std::span<const double> sums) {
  return pairwise_sum(sums.data(), static_cast<int64_t>(sums.size()));
}

template <class G>
double global_norm(std::span<const std::span<const G>> tensors) {
  return std::sqrt(sum_of_squares(tensors));
}

template <class G>
bool all_finite(std::span<const std::span<const G>> tensors) {
  std::atomic<bool> finite = true;
  for_each_block(tensors, [&](std::span<const G> x, int64_t) {
    if (!finite.load(std::memory_order_relaxed)) return;
    const G* data = x.data();
    Sums<compute_t<G>> differences;  // v - v is 0, or NaN where v is infinite or NaN
    for_vectors<compute_t<G>>(static_cast<int64_t>(x.size()),
                              [&](int64_t j, auto part, auto slot) PLINTH_INLINE_LAMBDA {
                                const auto v = load(data + j, part);
                                differences[slot] += v - v;
                              });
    const bool block_finite = differences.total() == 0;
    if (!block_finite) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

#define INSTANTIATE(G)                                                 \
  template double sum_of_squares(std::span<const std::span<const G>>); \
  template void chunk_sums_of_squares(std::span<const G>, double*);    \
  template double global_norm(std::span<const std::span<const G>>);    \
  template bool all_finite(std::span<const std::span<const G>>);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
