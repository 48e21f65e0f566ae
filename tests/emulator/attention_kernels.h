#pragma once

// Each of the GPU's attention kernels as attention_testing.h takes it, and the cases that it is to
// match.

#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/plain/plain.h"
#include "kernels/attention/tensor_core/tensor_core.h"
#include "tests/emulator/attention_testing.h"

namespace plinth::kernels::cuda::attention_testing {

// The Hopper kernels; the plain ones where there is nothing to do.
template <class T>
Kernels<T> hopper() {
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, float* lse) {
            if (const char* obstacle = attention::hopper_obstacle(d, q, k, v, out)) {
              EXPECT_STREQ(obstacle, "there is nothing to do");
              return attention::plain_forward<T>(nullptr, d, q, k, v, out, lse);
            }
            Buffer<int32_t> workspace(
                static_cast<int64_t>(attention::hopper_forward_workspace(d) / sizeof(int32_t)));
            attention::hopper_forward<T>(nullptr, d, q, k, v, out, lse, workspace.data());
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const float* lse, T* dq, T* dk, T* dv) {
            const attention::Gradients<T> operands{dout, q, k, v, out, dq, dk, dv};
            if (const char* obstacle = attention::hopper_backward_obstacle(d, operands)) {
              EXPECT_STREQ(obstacle, "there is nothing to do");
              Buffer<float> delta(d.batch * d.heads * d.q_len);
              attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
              return attention::plain_backward<T>(nullptr, d, dout, q, k, v, lse, delta.data(), dq,
                                                  dk, dv);
            }
            Buffer<float> workspace(
                static_cast<int64_t>(attention::hopper_backward_workspace<T>(d) / sizeof(float)));
            attention::hopper_backward<T>(nullptr, d, operands, lse, workspace.data());
          }};
}

template <class T>
Kernels<T> tensor_core() {
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, float* lse) {
            ASSERT_TRUE(attention::tensor_core_takes<T>(d, false, {q, k, v, out}, nullptr));
            attention::tensor_core_forward<T>(nullptr, d, q, k, v, out, lse);
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const float* lse, T* dq, T* dk, T* dv) {
            ASSERT_TRUE(attention::tensor_core_takes<T>(d, true, {dout, dq, dk, dv}, nullptr));
            Buffer<float> delta(d.batch * d.heads * d.q_len);
            attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
            attention::tensor_core_backward<T>(nullptr, d, dout, q, k, v, lse, delta.data(), dq, dk,
                                               dv);
          }};
}

template <class T>
Kernels<T> plain() {
  using C = compute_t<T>;
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, C* lse) {
            attention::plain_forward<T>(nullptr, d, q, k, v, out, lse);
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const C* lse, T* dq, T* dk, T* dv) {
            Buffer<C> delta(d.batch * d.heads * d.q_len);
            attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
            attention::plain_backward<T>(nullptr, d, dout, q, k, v, lse, delta.data(), dq, dk, dv);
          }};
}

// Every feature, or those whose tiles depend on the columns most.
template <class T>
void expect_all_of_hopper(int64_t head_dim, int64_t queries, int64_t keys) {
  for (const Case& c : cases_of(head_dim, queries, keys)) expect_matches(hopper<T>(), c);
}
template <class T>
void expect_some_of_hopper(int64_t head_dim, int64_t queries, int64_t keys) {
  for (const Case& c : cases_of(head_dim, queries, keys)) {
    if (c.name == "full" || c.name == "causal" || c.name == "packed" || c.name == "all at once")
      expect_matches(hopper<T>(), c);
  }
}

// Tiles of queries are of 64 or 128, of keys of 32 or 64.
template <class T>
void expect_all_of_tensor_core(int64_t head_dim, int64_t query_tile) {
  for (const Case& c : cases_of(head_dim, query_tile, 64)) expect_matches(tensor_core<T>(), c);
}

}  // namespace plinth::kernels::cuda::attention_testing
