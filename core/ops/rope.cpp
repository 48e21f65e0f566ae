#include "core/ops/rope.h"

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "kernels/rope/rope.h"
#include "kernels/rope/rope_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::RopeDesc;
using kernels::cpu::RopeStrides;

struct Rotation {
  RopeTable table;
  Tensor positions;  // undefined: offset + 0 .. T - 1
  int64_t offset = 0;
  bool interleaved = false;
  bool inverse = false;
};

RopeStrides rope_strides(const Tensor& x) {
  return {.batch = x.strides()[0], .seq = x.strides()[1], .head = x.strides()[2]};
}

// Linear in x: the gradient is the inverse rotation.
Tensor rotate(const Tensor& x, const Rotation& by) {
  const bool adjacent = x.strides()[3] == 1 || x.size(3) == 1;
  const Tensor from = adjacent ? x.detach() : plain(x);
  const Tensor y = Tensor::empty(x.shape(), x.options());
  const RopeDesc desc{.batch = x.size(0),
                      .seq = x.size(1),
                      .heads = x.size(2),
                      .head_dim = x.size(3),
                      .rotary_dim = 2 * by.table.cos.size(1),
                      .in = rope_strides(from),
                      .out = rope_strides(y),
                      .interleaved = by.interleaved,
                      .inverse = by.inverse,
                      .offset = by.offset,
                      .table_rows = by.table.cos.size(0)};
  dispatch_floating(x.dtype(), "rope", [&]<class T>() {
    PLINTH_RUN(from, rope, desc, from.data<T>(), by.table.cos.data<compute_t<T>>(),
               by.table.sin.data<compute_t<T>>(),
               by.positions.defined() ? by.positions.data<int64_t>() : nullptr, y.data<T>());
  });
  Rotation back = by;
  back.inverse = !by.inverse;
  return record("rope", {x}, y, {}, [back](const BackwardContext&, const Tensor& dy) -> Tensors {
    return {rotate(dy, back)};
  });
}

void check_operands(const Tensor& x, const RopeTable& table) {
  check_floating(x, "rope", "x");
  check(x.dim() == 4, ErrorKind::Shape, "rope", "x has shape ", x.shape(),
        ", expected [batch, time, heads, head_dim]");
  check(table.cos.defined() && table.cos.dim() == 2, ErrorKind::Shape, "rope",
        "table.cos is not a matrix [positions, rotary_dim / 2]");
  check_shape(table.sin, table.cos.shape(), "rope", "table.sin", "that of table.cos");
  const DType expected = compute_dtype(x.dtype());
  for (const Tensor& half : {table.cos, table.sin}) {
    check(half.device() == x.device(), ErrorKind::Device, "rope", "table is on ", half.device(),
          ", expected ", x.device(), " (that of x)");
    check(half.dtype() == expected && half.is_contiguous(), ErrorKind::DType, "rope", "table is ",
          name(half.dtype()), half.is_contiguous() ? "" : " and not contiguous", ", expected ",
          name(expected), " for an x of ", name(x.dtype()));
  }
  check(2 * table.cos.size(1) <= x.size(3), ErrorKind::Shape, "rope", "x has head_dim ", x.size(3),
        ", expected at least the table's rotary_dim, ", 2 * table.cos.size(1));
}

}  // namespace

RopeTable rope_table(int64_t positions, int64_t rotary_dim, double theta,
                     const RopeScaling& scaling, DType dtype) {
  const OpScope scope(__func__);
  check(positions >= 0, ErrorKind::Argument, "rope_table", "positions is ", positions,
        ", expected at least 0");
  check(rotary_dim > 0 && rotary_dim % 2 == 0, ErrorKind::Argument, "rope_table", "rotary_dim is ",
        rotary_dim, ", expected a positive even number");
  check(theta > 0, ErrorKind::Argument, "rope_table", "theta is ", theta, ", expected above 0");
  check(scaling.factor > 0 && scaling.low_freq_factor > 0 &&
            scaling.high_freq_factor > scaling.low_freq_factor && scaling.original_positions > 0,
        ErrorKind::Argument, "rope_table", "scaling has factor ", scaling.factor,
        ", low_freq_factor ", scaling.low_freq_factor, ", high_freq_factor ",
        scaling.high_freq_factor, ", original_positions ", scaling.original_positions,
        "; all must be above 0, and high_freq_factor above low_freq_factor");
  check(dtype == DType::Float32 || dtype == DType::Float64, ErrorKind::DType, "rope_table",
        "got dtype ", name(dtype), ", takes float32, float64");
  const RopeTable table{Tensor::empty({positions, rotary_dim / 2}, {dtype, {}}),
                        Tensor::empty({positions, rotary_dim / 2}, {dtype, {}})};
  const auto fill = [&]<class C>() {
    kernels::cpu::rope_table(positions, rotary_dim, theta, scaling, table.cos.data<C>(),
                             table.sin.data<C>());
  };
  if (is_dry_run()) return table;
  dtype == DType::Float64 ? fill.operator()<double>() : fill.operator()<float>();
  return table;
}

Tensor rope(const Tensor& x, const RopeTable& table, int64_t offset, bool interleaved) {
  const OpScope scope(__func__);
  check_operands(x, table);
  const int64_t positions = table.cos.size(0), count = x.size(1);
  check(offset >= 0 && count <= positions && offset <= positions - count, ErrorKind::Argument,
        "rope", "positions ", offset, " and on, ", count,
        " of them, are needed, expected within the table's ", positions);
  return rotate(x, {.table = table, .positions = {}, .offset = offset, .interleaved = interleaved});
}

Tensor rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved) {
  const OpScope scope(__func__);
  check_operands(x, table);
  check_int64(positions, "rope", "positions");
  check_same_device("rope", {&x, &positions});
  check_shape(positions, {x.size(0), x.size(1)}, "rope", "positions", "batch and time of x");
  const Tensor at = checked_index(positions, table.cos.size(0), "rope", "positions");
  return rotate(x, {.table = table, .positions = at, .interleaved = interleaved});
}

}  // namespace plinth
