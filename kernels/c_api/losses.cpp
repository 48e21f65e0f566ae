#include "kernels/c_api/call.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

void check_smoothing(double smoothing) {
  require(smoothing >= 0 && smoothing <= 1,
          "label_smoothing is " + std::to_string(smoothing) + ", takes 0 to 1");
}

// Those of a GPU are not looked at.
void check_targets(plinth_device device, int64_t rows, int64_t classes, int64_t ignore_index,
                   const int64_t* target) {
  check_pointers(rows, sizeof(int64_t), {{"target", target}});
  if (device != PLINTH_CPU) return;
  const int64_t bad = cpu::first_bad_target(rows, classes, ignore_index, target);
  if (bad >= 0)
    throw Refused{PLINTH_INVALID_ARGUMENT,
                  "target[" + std::to_string(bad) + "] is " + std::to_string(target[bad]) +
                      ", takes ignore_index or 0 to " + std::to_string(classes - 1)};
}

cpu::CrossEntropyDesc checked(plinth_device device, plinth_dtype dtype,
                              const plinth_cross_entropy* pointer, const int64_t* target) {
  check_floating(dtype);
  const plinth_cross_entropy& desc = given(pointer, "desc");
  product({{"rows", desc.rows}, {"classes", desc.classes}});
  check_smoothing(desc.label_smoothing);
  check_targets(device, desc.rows, desc.classes, desc.ignore_index, target);
  return {.rows = desc.rows,
          .classes = desc.classes,
          .ignore_index = desc.ignore_index,
          .label_smoothing = desc.label_smoothing};
}

cpu::LinearCrossEntropyDesc checked(plinth_device device, plinth_dtype dtype,
                                    const plinth_linear_cross_entropy* pointer,
                                    const int64_t* target) {
  check_floating(dtype);
  const plinth_linear_cross_entropy& desc = given(pointer, "desc");
  product({{"rows", desc.rows}, {"dim", desc.dim}});
  product({{"vocab", desc.vocab}, {"dim", desc.dim}});
  check_smoothing(desc.label_smoothing);
  check_targets(device, desc.rows, desc.vocab, desc.ignore_index, target);
  return {.rows = desc.rows,
          .dim = desc.dim,
          .vocab = desc.vocab,
          .ignore_index = desc.ignore_index,
          .label_smoothing = desc.label_smoothing,
          .z_loss = desc.z_loss};
}

}  // namespace

plinth_status plinth_cross_entropy_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                           const plinth_cross_entropy* desc, const void* logits,
                                           const int64_t* target, void* loss, void* lse) {
  return guarded(__func__, device, [&] {
    const cpu::CrossEntropyDesc d = checked(device, dtype, desc, target);
    check_pointers(d.rows * d.classes, size_of(dtype), {{"logits", logits}});
    check_pointers(d.rows, wide_size(dtype), {{"loss", loss}, {"lse", lse}});
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      PLINTH_CALL(cross_entropy_forward, d, in<T>(logits), target, out<C>(loss), out<C>(lse));
    });
  });
}

plinth_status plinth_cross_entropy_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                            const plinth_cross_entropy* desc, const void* dloss,
                                            const void* logits, const int64_t* target,
                                            const void* lse, void* dlogits) {
  return guarded(__func__, device, [&] {
    const cpu::CrossEntropyDesc d = checked(device, dtype, desc, target);
    check_pointers(d.rows * d.classes, size_of(dtype), {{"logits", logits}, {"dlogits", dlogits}});
    check_pointers(d.rows, wide_size(dtype), {{"dloss", dloss}, {"lse", lse}});
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      PLINTH_CALL(cross_entropy_backward, d, in<C>(dloss), in<T>(logits), target, in<C>(lse),
                  out<T>(dlogits));
    });
  });
}

plinth_status plinth_linear_cross_entropy_whole(plinth_device device, void*, plinth_dtype dtype,
                                                const plinth_linear_cross_entropy* desc,
                                                const void* x, const void* w, const int64_t* target,
                                                double row_scale, void* loss, void* dx, void* dw) {
  return guarded(__func__, device, [&] {
    const cpu::LinearCrossEntropyDesc d = checked(device, dtype, desc, target);
    if (device != PLINTH_CPU)
      throw Refused{PLINTH_UNSUPPORTED,
                    "is for the CPU; on a GPU: plinth_linear_cross_entropy_rows"};
    check_pointers(d.rows * d.dim, size_of(dtype), {{"x", x}});
    check_pointers(d.vocab * d.dim, size_of(dtype), {{"w", w}});
    check_pointers(d.rows, wide_size(dtype), {{"loss", loss}});
    check_optional(size_of(dtype), {{"dx", dx}});
    check_optional(wide_size(dtype), {{"dw", dw}});
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      cpu::linear_cross_entropy(d, in<T>(x), in<T>(w), target, out<C>(loss), out<T>(dx), out<C>(dw),
                                static_cast<C>(row_scale));
    });
  });
}

plinth_status plinth_linear_cross_entropy_rows(plinth_device device, void* stream,
                                               plinth_dtype dtype,
                                               const plinth_linear_cross_entropy* desc,
                                               int64_t stride, const void* z, const int64_t* target,
                                               const void* row_scale, void* loss, void* dz) {
  return guarded(__func__, device, [&] {
    const cpu::LinearCrossEntropyDesc d = checked(device, dtype, desc, target);
    if (device == PLINTH_CPU)
      throw Refused{PLINTH_UNSUPPORTED,
                    "is for a GPU; on the CPU: plinth_linear_cross_entropy_whole"};
    require(stride >= d.vocab, "stride is " + std::to_string(stride) + ", takes " +
                                   std::to_string(d.vocab) + " (vocab) or more");
    const int64_t n = product({{"rows", d.rows}, {"stride", stride}});
    check_pointers(n, size_of(dtype), {{"z", z}});
    check_pointers(d.rows, wide_size(dtype), {{"loss", loss}});
    check_optional(size_of(dtype), {{"dz", dz}});
    check_optional(wide_size(dtype), {{"row_scale", row_scale}});
#ifdef PLINTH_CUDA_BACKEND
    with_floating(dtype, [&]<class T>() {
      using C = plinth::compute_t<T>;
      cuda::linear_cross_entropy_rows<T, T>(stream, d, stride, in<T>(z), target, out<C>(loss),
                                            out<T>(dz), in<C>(row_scale));
    });
#else
    static_cast<void>(stream);
    static_cast<void>(row_scale);
#endif
  });
}
