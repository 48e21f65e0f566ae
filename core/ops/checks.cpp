#include "core/ops/checks.h"

#include "core/error.h"
#include "core/ops/on_device.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"
#include "kernels/index/index.h"
#include "kernels/index/index_cuda.h"

namespace plinth {

void check_floating(const Tensor& x, std::string_view op, std::string_view argument) {
  check(x.defined(), ErrorKind::Argument, op, argument, " is undefined");
  check(is_floating_point(x.dtype()) && !is_float8(x.dtype()), ErrorKind::DType, op, argument,
        " has dtype ", name(x.dtype()), ", takes float64, float32, bfloat16, float16");
}

void check_like(const Tensor& x, const Tensor& like, std::string_view op, std::string_view argument,
                std::string_view like_name) {
  check(x.defined(), ErrorKind::Argument, op, argument, " is undefined");
  check(x.dtype() == like.dtype(), ErrorKind::DType, op, argument, " has dtype ", name(x.dtype()),
        ", expected ", name(like.dtype()), " (that of ", like_name, ")");
  check(x.device() == like.device(), ErrorKind::Device, op, argument, " is on ", x.device(),
        ", expected ", like.device(), " (that of ", like_name, ")");
}

void check_shape(const Tensor& x, const Shape& expected, std::string_view op,
                 std::string_view argument, std::string_view why) {
  check(x.defined(), ErrorKind::Argument, op, argument, " is undefined");
  check(x.shape() == expected, ErrorKind::Shape, op, argument, " has shape ", x.shape(),
        ", expected ", expected, " (", why, ")");
}

void check_int64(const Tensor& x, std::string_view op, std::string_view argument) {
  check(x.defined(), ErrorKind::Argument, op, argument, " is undefined");
  check(x.dtype() == DType::Int64, ErrorKind::DType, op, argument, " has dtype ", name(x.dtype()),
        ", expected int64");
}

Tensor checked_index(const Tensor& index, int64_t length, std::string_view op,
                     std::string_view argument) {
  check_int64(index, op, argument);
  const Tensor at = plain(index);
  check_indices(at, {.op = std::string(op), .argument = std::string(argument), .limit = length});
  return at;
}

namespace {

void check_on_gpu(const Tensor& index, const IndexCheck& check) {
#ifdef PLINTH_CUDA_BACKEND
  const auto [number, slot] = deferred(check, index.device());
  const auto* const values = index.data<int64_t>();
  if (check.ignored) {
    kernels::cuda::report_bad_target(stream_of(index), index.numel(), check.limit, *check.ignored,
                                     values, number, slot);
  } else {
    kernels::cuda::report_bad_index(stream_of(index), index.numel(), check.limit, values, number,
                                    slot);
  }
#else
  static_cast<void>(index), static_cast<void>(check);
#endif
}

}  // namespace

void check_indices(const Tensor& index, const IndexCheck& check) {
  if (index.device().is_cuda()) return check_on_gpu(index, check);
  const auto* const values = index.data<int64_t>();
  const int64_t bad =
      check.ignored
          ? kernels::cpu::first_bad_target(index.numel(), check.limit, *check.ignored, values)
          : kernels::cpu::first_bad_index(index.numel(), check.limit, values);
  if (bad >= 0) throw check.error(bad, values[bad]);
}

void check_same_device(std::string_view op, std::initializer_list<const Tensor*> tensors) {
  const Device expected = (*tensors.begin())->device();
  for (const Tensor* x : tensors) {
    check(x->device() == expected, ErrorKind::Device, op, "operands are on ", expected, " and ",
          x->device(), ", expected one device");
  }
}

void check_on_cpu(const Tensor& x, std::string_view op) {
  check(x.device().is_cpu(), ErrorKind::Device, op, "got a tensor on ", x.device(),
        "; this op runs on the CPU only");
}

Rows rows_of(const Tensor& x, std::string_view op, std::string_view argument) {
  check(x.dim() >= 1, ErrorKind::Shape, op, argument,
        " has shape [], expected at least one dimension");
  Rows matrix{.rows = 1, .cols = x.size(-1)};
  for (int64_t d = 0; d + 1 < x.dim(); ++d) matrix.rows *= x.size(d);
  return matrix;
}

Tensor plain(const Tensor& x) {
  return x.defined() ? x.detach().contiguous() : x;
}

}  // namespace plinth
