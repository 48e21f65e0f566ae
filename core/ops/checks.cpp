#include "core/ops/checks.h"

#include "core/error.h"
#include "kernels/index/index.h"

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
  const Tensor host = at.to(Device{});
  const int64_t* values = host.data<int64_t>();
  const int64_t bad = kernels::cpu::first_bad_index(at.numel(), length, values);
  check(bad < 0, ErrorKind::Argument, op, argument, " ", bad < 0 ? 0 : values[bad], " (element ",
        bad, ") is out of range for a size of ", length);
  return at;
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
