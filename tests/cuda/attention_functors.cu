#include "tests/cuda/attention_functors.h"

#include "kernels/attention/custom_cuda.cuh"

namespace plinth {

struct BentPrefix {
  using OnlyTypes = std::tuple<float, BFloat16>;
  static constexpr int64_t kOnlyHeadDims[] = {64};

  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    return at.key < 70 || at.key <= at.query + at.head;
  }
  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x + C(0.1) * x * x - C(at.query - at.key) / C(64);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C x, const AttentionPair&) const {
    return 1 + C(0.2) * x;
  }
};

std::shared_ptr<const kernels::cpu::CustomScore> bent_prefix(const Tensor& q, const Tensor& k,
                                                             const AttentionOptions& options) {
  return custom_attention(BentPrefix{}, q, k, options);
}

}  // namespace plinth
