#include <array>

#include "kernels/activation/activation.h"
#include "kernels/activation/activation_cuda.h"
#include "kernels/bias_gelu/bias_gelu.h"
#include "kernels/bias_gelu/bias_gelu_cuda.h"
#include "kernels/c_api/call.h"
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/dropout_cuda.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/swiglu/swiglu.h"
#include "kernels/swiglu/swiglu_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

void check_stride(int64_t rows, int64_t cols, int64_t stride) {
  product({{"rows", rows}, {"stride", stride}});
  require(stride >= cols, "stride is " + std::to_string(stride) + ", takes " +
                              std::to_string(cols) + " (cols) or more");
}

// Calls forward or backward of one activation: PLINTH_CALL with the name of the kernel.
#define PLINTH_ACTIVATION(kind, direction, ...)                                    \
  switch (kind) {                                                                  \
    case PLINTH_GELU: return PLINTH_CALL(gelu_##direction, __VA_ARGS__);           \
    case PLINTH_GELU_TANH: return PLINTH_CALL(gelu_tanh_##direction, __VA_ARGS__); \
    case PLINTH_SILU: return PLINTH_CALL(silu_##direction, __VA_ARGS__);           \
    case PLINTH_RELU: return PLINTH_CALL(relu_##direction, __VA_ARGS__);           \
    case PLINTH_SIGMOID: return PLINTH_CALL(sigmoid_##direction, __VA_ARGS__);     \
    case PLINTH_TANH: return PLINTH_CALL(tanh_##direction, __VA_ARGS__);           \
    default: return PLINTH_CALL(gelu_quick_##direction, __VA_ARGS__);              \
  }

void check_kind(plinth_activation kind) {
  require(kind >= PLINTH_GELU && kind <= PLINTH_GELU_QUICK,
          "activation is " + std::to_string(kind) + ", takes 0 to " +
              std::to_string(PLINTH_GELU_QUICK));
}

void check_form(plinth_activation form) {
  require(form == PLINTH_GELU || form == PLINTH_GELU_TANH || form == PLINTH_GELU_QUICK,
          "form is " + std::to_string(form) + ", takes PLINTH_GELU, _TANH or _QUICK");
}

size_t bias_gelu_bytes(plinth_device device, plinth_dtype dtype, int64_t rows, int64_t cols) {
  return with_floating(
      dtype, [&]<class T>() { return PLINTH_BYTES(bias_gelu_backward_workspace<T>, rows, cols); });
}

}  // namespace

plinth_status plinth_activation_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                        plinth_activation kind, int64_t n, const void* x, void* y) {
  return guarded(__func__, device, [&] {
    check_floating(dtype);
    product({{"n", n}});
    check_kind(kind);
    check_pointers(n, size_of(dtype), {{"x", x}, {"y", y}});
    with_floating(dtype,
                  [&]<class T>() { PLINTH_ACTIVATION(kind, forward, n, in<T>(x), out<T>(y)) });
  });
}

plinth_status plinth_activation_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                         plinth_activation kind, int64_t n, const void* dy,
                                         const void* saved, void* dx) {
  return guarded(__func__, device, [&] {
    check_floating(dtype);
    product({{"n", n}});
    check_kind(kind);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"saved", saved}, {"dx", dx}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_ACTIVATION(kind, backward, n, in<T>(dy), in<T>(saved), out<T>(dx))
    });
  });
}

plinth_status plinth_swiglu_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                    int64_t rows, int64_t cols, int64_t stride, const void* gate,
                                    const void* up, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_stride(rows, cols, stride);
    check_pointers(n, size_of(dtype), {{"gate", gate}, {"up", up}, {"y", y}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(swiglu_forward, rows, cols, in<T>(gate), stride, in<T>(up), stride, out<T>(y));
    });
  });
}

plinth_status plinth_swiglu_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                     int64_t rows, int64_t cols, int64_t stride, const void* dy,
                                     const void* gate, const void* up, void* dgate, void* dup) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_stride(rows, cols, stride);
    check_pointers(n, size_of(dtype),
                   {{"dy", dy}, {"gate", gate}, {"up", up}, {"dgate", dgate}, {"dup", dup}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(swiglu_backward, rows, cols, in<T>(dy), in<T>(gate), stride, in<T>(up), stride,
                  out<T>(dgate), stride, out<T>(dup), stride);
    });
  });
}

plinth_status plinth_bias_gelu_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       plinth_activation form, int64_t rows, int64_t cols,
                                       const void* x, const void* bias, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_form(form);
    check_pointers(n, size_of(dtype), {{"x", x}, {"bias", bias}, {"y", y}});
    with_floating(dtype, [&]<class T>() {
      if (form == PLINTH_GELU) {
        PLINTH_CALL(bias_gelu_forward, rows, cols, in<T>(x), in<T>(bias), out<T>(y));
      } else if (form == PLINTH_GELU_TANH) {
        PLINTH_CALL(bias_gelu_tanh_forward, rows, cols, in<T>(x), in<T>(bias), out<T>(y));
      } else {
        PLINTH_CALL(bias_gelu_quick_forward, rows, cols, in<T>(x), in<T>(bias), out<T>(y));
      }
    });
  });
}

plinth_status plinth_bias_gelu_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  int64_t rows, int64_t cols, size_t* bytes) {
  return guarded(__func__, device, [&] {
    check_matrix(dtype, rows, cols);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = bias_gelu_bytes(device, dtype, rows, cols);
  });
}

plinth_status plinth_bias_gelu_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        plinth_activation form, int64_t rows, int64_t cols,
                                        const void* dy, const void* x, const void* bias, void* dx,
                                        void* dbias, void* workspace, size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_form(form);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"x", x}, {"bias", bias}, {"dx", dx}});
    check_optional(size_of(dtype), {{"dbias", dbias}});
    if (dbias)
      check_workspace(workspace, workspace_bytes, bias_gelu_bytes(device, dtype, rows, cols));
    with_floating(dtype, [&]<class T>() {
      if (form == PLINTH_GELU) {
        PLINTH_CALL_WITH(bias_gelu_backward, rows, cols, in<T>(dy), in<T>(x), in<T>(bias),
                         out<T>(dx), out<T>(dbias));
      } else if (form == PLINTH_GELU_TANH) {
        PLINTH_CALL_WITH(bias_gelu_tanh_backward, rows, cols, in<T>(dy), in<T>(x), in<T>(bias),
                         out<T>(dx), out<T>(dbias));
      } else {
        PLINTH_CALL_WITH(bias_gelu_quick_backward, rows, cols, in<T>(dy), in<T>(x), in<T>(bias),
                         out<T>(dx), out<T>(dbias));
      }
    });
  });
}

plinth_status plinth_dropout(plinth_device device, void* stream, plinth_dtype dtype,
                             int64_t samples, int64_t elements, double p,
                             const plinth_philox_key* key, const void* x, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t n = product({{"samples", samples}, {"elements", elements}});
    require(p >= 0 && p <= 1, "p is " + std::to_string(p) + ", takes 0 to 1");
    const PhiloxKey philox = key_of(given(key, "key"));
    with_floating(dtype, [&]<class T>() {
      check_pointers(n, sizeof(T), {{"x", x}, {"y", y}});
      PLINTH_CALL(dropout_forward, samples, elements, p, philox, in<T>(x), out<T>(y));
    });
  });
}

plinth_status plinth_cast(plinth_device device, void* stream, plinth_dtype from, plinth_dtype to,
                          int64_t n, const void* x, void* y) {
  return guarded(__func__, device, [&] {
    product({{"n", n}});
    Loop<2> loop;
    loop.dims = 1;
    loop.size[0] = n;
    loop.stride[0][0] = loop.stride[1][0] = 1;
    with_any(from, [&]<class From>() {
      with_any(to, [&]<class To>() {
        check_pointers(n, sizeof(From), {{"x", x}});
        check_pointers(n, sizeof(To), {{"y", y}});
        if (n > 0) PLINTH_CALL(copy, loop, in<From>(x), out<To>(y));
      });
    });
  });
}
