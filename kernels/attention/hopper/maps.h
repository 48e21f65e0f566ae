#pragma once

// Maps by which TMA finds tiles of q, k, v and their like.

#include "kernels/attention/attention_cuda.h"
#include "kernels/device/device.h"

namespace plinth::kernels::cuda::attention {

// Calls f.operator()<columns>() with the least that hold head_dim.
template <class F>
void with_hopper_columns(int64_t head_dim, F f) {
  if (head_dim <= 64) return f.template operator()<64>();
  if (head_dim <= 96) return f.template operator()<96>();
  if (head_dim <= 128) return f.template operator()<128>();
  return f.template operator()<256>();
}

// Whether a map of rows at these strides can be made.
template <class T>
bool mappable(const T* p, const AttentionDesc::Strides& s) {
  const auto fits = [](int64_t stride) {
    return stride > 0 && stride % 8 == 0 && stride < int64_t{1} << 38;
  };
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && fits(s.batch) && fits(s.head) && fits(s.seq);
}

// The map of [batch, heads, rows, head_dim], in boxes of box_rows x box_columns.
template <class T>
device::TensorMap head_map(const T* p, const AttentionDesc::Strides& s, const AttentionDesc& d,
                           int64_t heads, int64_t rows, int64_t box_rows, int64_t box_columns,
                           device::Swizzle swizzle) {
  return device::make_tensor_map(p, {d.head_dim, rows, heads, d.batch}, {s.seq, s.head, s.batch},
                                 {box_columns, box_rows, 1, 1}, swizzle);
}

}  // namespace plinth::kernels::cuda::attention
