#pragma once

// The kernels behind attention_cuda.h, as a table: the library has one, and each functor that
// custom_cuda.cuh compiles has one of its own.

#include <tuple>

#include "kernels/attention/custom.h"
#include "kernels/attention/hopper/hopper.h"

namespace plinth::kernels::cuda {

// Of one type: null where a kernel is not compiled. hopper/ and tensor_core/ have 16-bit types
// only.
template <class T>
struct AttentionKernels {
  using C = compute_t<T>;
  using Forward = void(device::Stream, const AttentionDesc&, const T* q, const T* k, const T* v,
                       T* out, C* lse);
  using Backward = void(device::Stream, const AttentionDesc&, const T* dout, const T* q, const T* k,
                        const T* v, const C* lse, const C* delta, T* dq, T* dk, T* dv);
  void (*hopper_forward)(device::Stream, const AttentionDesc&, const T* q, const T* k, const T* v,
                         T* out, C* lse, void* workspace) = nullptr;
  Forward* tensor_core_forward = nullptr;
  Forward* plain_forward = nullptr;
  void (*hopper_backward)(device::Stream, const AttentionDesc&, const attention::Gradients<T>&,
                          const C* lse, void* workspace) = nullptr;
  Backward* tensor_core_backward = nullptr;
  Backward* plain_backward = nullptr;
  void (*bias_gradient)(device::Stream, const AttentionDesc&, const T* dout, const T* q, const T* k,
                        const T* v, const C* lse, const C* delta) = nullptr;
  void (*weights)(device::Stream, const AttentionDesc&, int64_t head_count, const int64_t* heads,
                  int64_t row_count, const int64_t* rows, const T* q, const T* k,
                  C* weights) = nullptr;
};

// Of one functor. The description's `custom` points to the functor and its map.
struct CustomKernels {
  std::tuple<AttentionKernels<double>, AttentionKernels<float>, AttentionKernels<BFloat16>,
             AttentionKernels<Float16>>
      of;
  // Whether kernels for a head_dim are compiled, and whether those of hopper/ have code for sm_90a.
  bool (*takes_head_dim)(int64_t head_dim) = nullptr;
  bool (*has_hopper_code)() = nullptr;
  void (*block_map)(device::Stream, const AttentionDesc&, const cpu::CustomScore&,
                    cpu::BlockSight* blocks) = nullptr;
};

}  // namespace plinth::kernels::cuda
