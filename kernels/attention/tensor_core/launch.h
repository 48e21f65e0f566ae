#pragma once

// The kernels' instances, and the launches between which tensor_core_backward() divides its work.

#include "kernels/attention/score.cuh"

namespace plinth::kernels::cuda::attention::tensor_core {

// Calls f.operator()<columns, scores>() for the least columns that hold head_dim, and for scores
// that are the scale alone where the description asks for no more. There the largest score is that
// of the largest product, so that the scale is not negative.
template <class F>
void with_instance(const AttentionDesc& d, F f) {
  const auto with_scores = [&]<int kColumns>() {
    if (scales_only(d) && d.dropout == 0 && d.scale > 0) {
      f.template operator()<kColumns, Scaled>();
    } else {
      f.template operator()<kColumns, Described>();
    }
  };
  if (d.head_dim <= 64) return with_scores.template operator()<64>();
  if (d.head_dim <= 96) return with_scores.template operator()<96>();
  if (d.head_dim <= 128) return with_scores.template operator()<128>();
  with_scores.template operator()<256>();
}

// What a score of a kernel is in log 2.
template <class Scores>
float unit_of(const AttentionDesc& d) {
  return Scores::kScaleOnly ? static_cast<float>(d.scale * std::numbers::log2e) : 1;
}

template <class T>
void launch_dq(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
               const T* v, const float* lse, const float* delta, T* dq);
template <class T>
void launch_dk_dv(Stream stream, const AttentionDesc& d, const T* dout, const T* q, const T* k,
                  const T* v, const float* lse, const float* delta, T* dk, T* dv);

}  // namespace plinth::kernels::cuda::attention::tensor_core
