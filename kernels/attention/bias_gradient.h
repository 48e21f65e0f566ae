#pragma once

// The gradients of bias and sinks on the CPU, which are the same bits on any number of threads.
//
// A bias that is broadcast along the batch alone (T5's) is added up by the pass that makes dq, dk
// and dv: a fixed number of parts of the batch have a copy of dbias each. Other biases are a pass
// of their own, which recomputes p and ds (4 q kv head_dim operations a head): each element is one
// task's sum, without a copy for each batch element, head, query or key.

#include "kernels/attention/gradient_tile.h"

namespace plinth::kernels::cpu::attention {

// dbias of parts of the batch, while they are added up.
template <class T>
class BiasParts {
 public:
  using C = compute_t<T>;

  // `bends`: Score::bends().
  BiasParts(const AttentionDesc& desc, bool bends);

  // 0 where dbias is not wanted, or must be a pass of its own.
  int64_t count() const { return count_; }
  Range batches(int64_t part) const {
    return {desc_.batch * part / count_, desc_.batch * (part + 1) / count_};
  }
  // The sums of a part and a head, [q_len][stride()].
  C* sums(int64_t part, int64_t head) const {
    return sums_ + (part * desc_.heads + head) * desc_.q_len * stride_;
  }
  // kv_len in whole tiles.
  int64_t stride() const { return stride_; }
  // Overwrites desc.dbias with the parts' sum.
  void join() const;

 private:
  const AttentionDesc& desc_;
  int64_t stride_ = 0, count_ = 0;
  C* sums_ = nullptr;
};

// Overwrites desc.dbias, in the order batch, head, query, key for what it is broadcast along.
template <class T>
void bias_gradient(const AttentionDesc& desc, const GradientInputs<T>& in);

// Overwrites desc.dsinks.
template <class T>
void sink_gradient(const AttentionDesc& desc, const GradientInputs<T>& in);

}  // namespace plinth::kernels::cpu::attention
