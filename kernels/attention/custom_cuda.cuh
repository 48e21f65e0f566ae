#pragma once

// Includes of which a .cu file, compiled by nvcc, makes the GPU kernels of its functors (custom.h):
// after it, custom_attention(functor, q, k) takes tensors of a GPU. The functor is inlined in the
// kernels of hopper/, tensor_core/ and plain/, forward and backward, beside all else that a
// description can ask for; tiles of which its map says that they are empty are neither read nor
// multiplied, and in full ones it is not asked about pairs.
//
// nvcc needs -std=c++20 and --expt-relaxed-constexpr. It compiles some ninety kernels for each
// functor and architecture; OnlyTypes and kOnlyHeadDims (custom.h) leave those of one model. For
// the kernels of hopper/, sm_90a must be among the architectures.

#include <algorithm>
#include <iterator>
#include <tuple>

#include "kernels/device/device.h"

// Before the kernels: where core is included too, there are two of that name.
namespace plinth::kernels::cuda {
using device::Stream;
}

#include "kernels/attention/custom_kernels.h"
#include "kernels/attention/custom_map.cuh"
#include "kernels/attention/custom_rule.cuh"
#include "kernels/attention/hopper/backward_launch.cuh"
#include "kernels/attention/hopper/forward.cuh"
#include "kernels/attention/plain/backward.cuh"
#include "kernels/attention/plain/bias_gradient.cuh"
#include "kernels/attention/plain/forward.cuh"
#include "kernels/attention/tensor_core/backward.cuh"
#include "kernels/attention/tensor_core/forward.cuh"
#include "kernels/attention/weights.cuh"

namespace plinth::kernels::cuda {
namespace attention {

template <class T, class... Ts>
constexpr bool is_among(std::tuple<Ts...>*) {
  return (std::is_same_v<T, Ts> || ...);
}
// Whether a functor is to have kernels for elements of T, and for some head_dim of (low, high].
template <class F, class T>
constexpr bool has_type() {
  if constexpr (requires { typename F::OnlyTypes; }) {
    return is_among<T>(static_cast<typename F::OnlyTypes*>(nullptr));
  } else {
    return true;
  }
}
template <class F>
constexpr bool has_head_dim(int64_t low, int64_t high) {
  if constexpr (requires { F::kOnlyHeadDims; }) {
    for (const int64_t head_dim : F::kOnlyHeadDims)
      if (head_dim > low && head_dim <= high) return true;
    return false;
  } else {
    return true;
  }
}
// Calls f.operator()<columns>() with the least of kColumns that hold head_dim, for which the caller
// knows that there are kernels.
template <class F, int kBelow, int kColumns, int... kMore, class Use>
void with_columns_of(int64_t head_dim, Use use) {
  if constexpr (has_head_dim<F>(kBelow, kColumns)) {
    if (head_dim <= kColumns) return use.template operator()<kColumns>();
  }
  if constexpr (sizeof...(kMore) > 0) with_columns_of<F, kColumns, kMore...>(head_dim, use);
}

// The kernels of a functor for elements of T.
template <class T, class F>
struct KernelsOfFunctor {
  using C = compute_t<T>;
  using Rule = Custom<T, F>;

  static void hopper_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k,
                             const T* v, T* out, C* lse, void* workspace) {
    with_columns_of<F, 0, 64, 96, 128, 256>(d.head_dim, [&]<int kColumns>() {
      launch_hopper_forward<T, kColumns, Rule>(stream, d, q, k, v, out, lse, workspace);
    });
  }
  static void hopper_backward(Stream stream, const AttentionDesc& d, const Gradients<T>& x,
                              const C* lse, void* workspace) {
    with_columns_of<F, 0, 64, 128>(d.head_dim, [&]<int kColumns>() {
      using Sizes = BackwardSizes<kColumns>;
      const BackwardWorkspaceSizes<T, kColumns> sizes(d);
      const BackwardWorkspace w = sizes.at(d, workspace);
      Rule rule(d);
      int32_t* order = nullptr;
      if constexpr (Rule::kMasks) {
        order = reinterpret_cast<int32_t*>(static_cast<std::byte*>(workspace) + sizes.total());
        backward_order<Sizes::kKeys, Sizes::kQueries>(stream, d, order);
        rule.order = order;
        rule.order_head_stride = BackwardOrder(d, Sizes::kKeys, Sizes::kQueries).head_stride();
      }
      begin_hopper_backward<T, kColumns>(stream, d, x, lse, w, order);
      launch_hopper_backward<T, kColumns>(stream, d, x, w, rule);
    });
  }

  static void tensor_core_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k,
                                  const T* v, T* out, C* lse) {
    with_columns_of<F, 0, 64, 96, 128, 256>(d.head_dim, [&]<int kColumns>() {
      tensor_core::launch_forward<T, kColumns, CustomOf<F>::template Rule>(stream, d, q, k, v, out,
                                                                           lse);
    });
  }
  static void tensor_core_backward(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                                   const T* k, const T* v, const C* lse, const C* delta, T* dq,
                                   T* dk, T* dv) {
    const tensor_core::BackwardInputs<T> inputs{dout, q, k, v, lse, delta};
    with_columns_of<F, 0, 64, 96, 128, 256>(d.head_dim, [&]<int kColumns>() {
      tensor_core::launch_dq<T, kColumns, CustomOf<F>::template Rule>(stream, d, inputs, dq);
      tensor_core::launch_dk_dv<T, kColumns, CustomOf<F>::template Rule>(stream, d, inputs, dk, dv);
    });
  }

  static void plain_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k,
                            const T* v, T* out, C* lse) {
    with_columns_of<F, 0, 64, 128, 256>(d.head_dim, [&]<int kColumns>() {
      launch_plain_forward<T, kColumns, Rule>(stream, d, q, k, v, out, lse);
    });
  }
  static void plain_backward(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                             const T* k, const T* v, const C* lse, const C* delta, T* dq, T* dk,
                             T* dv) {
    with_columns_of<F, 0, 64, 128, 256>(d.head_dim, [&]<int kColumns>() {
      launch_plain_backward<T, kColumns, Rule>(stream, d, dout, q, k, v, lse, delta, dq, dk, dv);
    });
  }
  static void bias_gradient(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                            const T* k, const T* v, const C* lse, const C* delta) {
    with_columns_of<F, 0, 64, 128, 256>(d.head_dim, [&]<int kColumns>() {
      launch_bias_gradient<T, kColumns, Rule>(stream, d, dout, q, k, v, lse, delta);
    });
  }

  static AttentionKernels<T> table() {
    AttentionKernels<T> kernels;
    if constexpr (has_type<F, T>()) {
      if constexpr (sizeof(T) == 2) {
        kernels.hopper_forward = hopper_forward;
        kernels.hopper_backward = hopper_backward;
        kernels.tensor_core_forward = tensor_core_forward;
        kernels.tensor_core_backward = tensor_core_backward;
      }
      kernels.plain_forward = plain_forward;
      kernels.plain_backward = plain_backward;
      kernels.bias_gradient = bias_gradient;
      kernels.weights = launch_weights<T, Rule>;
    }
    return kernels;
  }
};

template <class F>
bool takes_head_dim(int64_t head_dim) {
  if constexpr (requires { F::kOnlyHeadDims; }) {
    return std::find(std::begin(F::kOnlyHeadDims), std::end(F::kOnlyHeadDims), head_dim) !=
           std::end(F::kOnlyHeadDims);
  } else {
    return true;
  }
}

// Whether this translation unit was compiled for sm_90a: for others the kernels of hopper/ are
// empty. The bound of a kernel that is never launched tells.
#if defined(__CUDACC__)
template <class F>
__launch_bounds__(kHopper ? 64 : 32) PLINTH_KERNEL void hopper_code_kernel() {}

template <class F>
bool has_hopper_code() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, hopper_code_kernel<F>) == cudaSuccess &&
         attributes.maxThreadsPerBlock == 64;
}
#else
template <class F>
bool has_hopper_code() {
  return true;
}
#endif

}  // namespace attention

// The table of a functor.
template <class F>
struct KernelsOf {
  static const CustomKernels* kernels() {
    using namespace attention;
    static const CustomKernels table{
        {KernelsOfFunctor<double, F>::table(), KernelsOfFunctor<float, F>::table(),
         KernelsOfFunctor<BFloat16, F>::table(), KernelsOfFunctor<Float16, F>::table()},
        takes_head_dim<F>,
        has_hopper_code<F>,
        launch_block_map<F>};
    return &table;
  }
};

}  // namespace plinth::kernels::cuda

namespace plinth::kernels::cpu {

template <class F>
cuda::KernelsOf<F> device_code(OfFunctor<F>);

}  // namespace plinth::kernels::cpu
