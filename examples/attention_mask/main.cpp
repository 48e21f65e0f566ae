// A mask that Plinth does not have, in ten lines: a prefix language model (Raffel et al. 2020,
// arXiv 1910.10683), whose first tokens all see each other while the others see only what stands
// before them. It runs in the fused kernels, which skip the blocks that it leaves empty; the
// program prints the weights of one head, and the gradient of its output by the first token's
// value.
//
//   attention_mask [cpu|cuda]
//
// Compiled by nvcc, the same lines become part of the GPU's kernels.

#include <plinth.h>

#include <cstdio>
#include <tuple>

#if defined(__CUDACC__)
#include "kernels/attention/custom_cuda.cuh"
#endif

using namespace plinth;

struct PrefixLm {
  static constexpr bool kAllHeadsAlike = true, kAllBatchesAlike = true;
  int64_t prefix;
  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    return at.key < prefix || at.key <= at.query;
  }
  // Of all kernels, nvcc is to compile those of this program.
  using OnlyTypes = std::tuple<BFloat16>;
  static constexpr int64_t kOnlyHeadDims[] = {64};
};

int main(int argc, char** argv) try {
  const TensorOptions options{DType::BFloat16, Device::parse(argc > 1 ? argv[1] : "cpu")};
  const int64_t tokens = 6, prefix = 3;
  const Tensor q = randn({1, 2, tokens, 64}, options), k = randn({1, 2, tokens, 64}, options);
  const Tensor v = randn({1, 2, tokens, 64}, options).set_requires_grad();
  const AttentionOptions masked{.custom = custom_attention(PrefixLm{prefix}, q, k)};

  const Tensor weights = attention_weights(q, k, masked, {0}, {0, 1, 2, 3, 4, 5});
  for (int64_t i = 0; i < tokens; ++i) {
    for (int64_t j = 0; j < tokens; ++j)
      std::printf("%5.2f", weights.select(2, i).select(2, j).item());
    std::printf("\n");
  }
  sum(attention(q, k, v, masked)).backward();
  std::printf("gradient of the first value: %.3f\n",
              v.grad().select(2, 0).select(1, 0).select(1, 0).item());
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
