#include "kernels/c_api/call.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/layer_norm/layer_norm_cuda.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/softmax/softmax.h"
#include "kernels/softmax/softmax_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

void check_eps(double eps) {
  require(eps >= 0, "eps is " + std::to_string(eps) + ", takes 0 or more");
}

size_t layer_norm_bytes(plinth_device device, plinth_dtype dtype, int64_t rows, int64_t cols) {
  return with_floating(
      dtype, [&]<class T>() { return PLINTH_BYTES(layer_norm_backward_workspace<T>, rows, cols); });
}

size_t rms_norm_bytes(plinth_device device, plinth_dtype dtype, int64_t rows, int64_t cols) {
  return with_floating(
      dtype, [&]<class T>() { return PLINTH_BYTES(rms_norm_backward_workspace<T>, rows, cols); });
}

}  // namespace

plinth_status plinth_layer_norm_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                        int64_t rows, int64_t cols, const void* x,
                                        const void* residual, const void* weight, const void* bias,
                                        double eps, void* sum, void* y, void* mean, void* rstd) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_eps(eps);
    check_pointers(n, size_of(dtype), {{"x", x}, {"y", y}});
    if (residual) check_pointers(n, size_of(dtype), {{"residual", residual}, {"sum", sum}});
    check_optional(size_of(dtype), {{"weight", weight}, {"bias", bias}});
    check_optional(wide_size(dtype), {{"mean", mean}, {"rstd", rstd}});
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      if (residual) {
        PLINTH_CALL(add_layer_norm_forward, rows, cols, in<T>(x), in<T>(residual), in<T>(weight),
                    in<T>(bias), static_cast<C>(eps), out<T>(sum), out<T>(y), out<C>(mean),
                    out<C>(rstd));
      } else {
        PLINTH_CALL(layer_norm_forward, rows, cols, in<T>(x), in<T>(weight), in<T>(bias),
                    static_cast<C>(eps), out<T>(y), out<C>(mean), out<C>(rstd));
      }
    });
  });
}

plinth_status plinth_layer_norm_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                   int64_t rows, int64_t cols, size_t* bytes) {
  return guarded(__func__, device, [&] {
    check_matrix(dtype, rows, cols);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = layer_norm_bytes(device, dtype, rows, cols);
  });
}

plinth_status plinth_layer_norm_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                         int64_t rows, int64_t cols, const void* dy,
                                         const void* dsum, const void* x, const void* weight,
                                         const void* mean, const void* rstd, void* dx,
                                         void* dweight, void* dbias, void* workspace,
                                         size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"x", x}});
    check_pointers(n, wide_size(dtype), {{"mean", mean}, {"rstd", rstd}});
    check_optional(
        size_of(dtype),
        {{"dsum", dsum}, {"weight", weight}, {"dx", dx}, {"dweight", dweight}, {"dbias", dbias}});
    if (dweight || dbias)
      check_workspace(workspace, workspace_bytes, layer_norm_bytes(device, dtype, rows, cols));
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      PLINTH_CALL_WITH(add_layer_norm_backward, rows, cols, in<T>(dy), in<T>(dsum), in<T>(x),
                       in<T>(weight), in<C>(mean), in<C>(rstd), out<T>(dx), nullptr,
                       out<T>(dweight), out<T>(dbias));
    });
  });
}

plinth_status plinth_rms_norm_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                      int64_t rows, int64_t cols, const void* x,
                                      const void* residual, const void* weight, double eps,
                                      void* sum, void* y, void* rstd) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_eps(eps);
    check_pointers(n, size_of(dtype), {{"x", x}, {"y", y}});
    if (residual) check_pointers(n, size_of(dtype), {{"residual", residual}, {"sum", sum}});
    check_optional(size_of(dtype), {{"weight", weight}});
    check_optional(wide_size(dtype), {{"rstd", rstd}});
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      if (residual) {
        PLINTH_CALL(add_rms_norm_forward, rows, cols, in<T>(x), in<T>(residual), in<T>(weight),
                    static_cast<C>(eps), out<T>(sum), out<T>(y), out<C>(rstd));
      } else {
        PLINTH_CALL(rms_norm_forward, rows, cols, in<T>(x), in<T>(weight), static_cast<C>(eps),
                    out<T>(y), out<C>(rstd));
      }
    });
  });
}

plinth_status plinth_rms_norm_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                 int64_t rows, int64_t cols, size_t* bytes) {
  return guarded(__func__, device, [&] {
    check_matrix(dtype, rows, cols);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = rms_norm_bytes(device, dtype, rows, cols);
  });
}

plinth_status plinth_rms_norm_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                       int64_t rows, int64_t cols, const void* dy, const void* dsum,
                                       const void* x, const void* weight, const void* rstd,
                                       void* dx, void* dweight, void* workspace,
                                       size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"x", x}});
    check_pointers(n, wide_size(dtype), {{"rstd", rstd}});
    check_optional(size_of(dtype),
                   {{"dsum", dsum}, {"weight", weight}, {"dx", dx}, {"dweight", dweight}});
    if (dweight)
      check_workspace(workspace, workspace_bytes, rms_norm_bytes(device, dtype, rows, cols));
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      PLINTH_CALL_WITH(add_rms_norm_backward, rows, cols, in<T>(dy), in<T>(dsum), in<T>(x),
                       in<T>(weight), in<C>(rstd), out<T>(dx), nullptr, out<T>(dweight));
    });
  });
}

plinth_status plinth_softmax_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                     int64_t rows, int64_t cols, const void* x, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"x", x}, {"y", y}});
    with_floating(
        dtype, [&]<class T>() { PLINTH_CALL(softmax_forward, rows, cols, in<T>(x), out<T>(y)); });
  });
}

plinth_status plinth_softmax_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                      int64_t rows, int64_t cols, const void* dy, const void* y,
                                      void* dx) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"y", y}, {"dx", dx}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(softmax_backward, rows, cols, in<T>(dy), in<T>(y), out<T>(dx));
    });
  });
}

plinth_status plinth_log_softmax_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                         int64_t rows, int64_t cols, const void* x, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"x", x}, {"y", y}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(log_softmax_forward, rows, cols, in<T>(x), out<T>(y));
    });
  });
}

plinth_status plinth_log_softmax_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                          int64_t rows, int64_t cols, const void* dy, const void* y,
                                          void* dx) {
  return guarded(__func__, device, [&] {
    const int64_t n = check_matrix(dtype, rows, cols);
    check_pointers(n, size_of(dtype), {{"dy", dy}, {"y", y}, {"dx", dx}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(log_softmax_backward, rows, cols, in<T>(dy), in<T>(y), out<T>(dx));
    });
  });
}
