#include "core/ops/product.h"

#include "core/cuda/stream_tuner.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/ops/checks.h"
#include "core/ops/loops.h"
#include "core/ops/matmul.h"
#include "core/ops/on_device.h"
#include "kernels/activation/activation.h"
#include "kernels/activation/activation_cuda.h"
#include "kernels/column_sum/column_sum.h"
#include "kernels/column_sum/column_sum_cuda.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/product_cuda.h"

namespace plinth {
namespace {

using kernels::cpu::MatmulDesc;

// x with the strides that kernels take: of each matrix one of row and column neighbouring.
Tensor packed(const Tensor& x) {
  const int64_t rows = x.strides()[x.dim() - 2], cols = x.strides()[x.dim() - 1];
  const bool row_major = cols == 1 || x.size(-1) == 1;
  const bool column_major = rows == 1 || x.size(-2) == 1;
  return row_major || column_major ? x : x.contiguous();
}

std::array<int64_t, 3> matrix_strides(const Tensor& x) {
  return {x.size(0) > 1 ? x.strides()[0] : 0, x.strides()[1], x.strides()[2]};
}

MatmulDesc describe(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate) {
  return {.batch = c.size(0),
          .m = c.size(1),
          .n = c.size(2),
          .k = a.size(2),
          .a = matrix_strides(a),
          .b = matrix_strides(b),
          .c = matrix_strides(c),
          .accumulate = accumulate};
}

#ifdef PLINTH_CUDA_BACKEND

kernels::cuda::Product product_of(const MatmulDesc& desc, const Tensor& a, const Tensor& b,
                                  const Tensor& c) {
  return {.shape = desc,
          .a_dtype = a.dtype(),
          .b_dtype = b.dtype(),
          .c_dtype = c.dtype(),
          .a = a.raw_data(),
          .b = b.raw_data(),
          .c = c.raw_data(),
          .allow_tf32 = allow_tf32()};
}

// False where only cuBLASLt could make the product's epilogue, and does not.
bool run_on_gpu(const kernels::cuda::Product& product, const Tensor& c, std::string_view op) {
  const Stream stream = current_stream(c.device());
  cuda::StreamTuner tuner(stream);
  try {
    const kernels::cuda::Choice choice = kernels::cuda::choose(stream.handle, tuner, product);
    if (!choice.plan && product.epilogue > kernels::cuda::Epilogue::Bias) return false;
    const Tensor workspace = workspace_beside(c, static_cast<int64_t>(choice.workspace));
    kernels::cuda::run(stream.handle, choice, product, workspace.raw_data());
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& failure) {
    throw Error(ErrorKind::Cuda, op, failure.what());
  }
  return true;
}

// As multiply_float8(), of a batch of one.
void run_float8(const Tensor& a, const Tensor& a_scales, const Tensor& b, const Tensor& b_scales,
                const Tensor& bias, const Tensor& c, std::string_view op) {
  const MatmulDesc desc = describe(a, b, c, false);
  FlopCounter::add(2 * desc.m * desc.n * desc.k);
  kernels::cuda::Product product = product_of(desc, a, b, c);
  product.a_scale = a_scales.data<float>() + 1;
  product.b_scale = b_scales.data<float>() + 1;
  // Beside a float32 result cuBLASLt's bias would be bfloat16.
  const bool fuses = bias.defined() && c.dtype() != DType::Float32;
  product.bias = fuses ? bias.raw_data() : nullptr;
  if (fuses) product.epilogue = kernels::cuda::Epilogue::Bias;
  run_on_gpu(product, c, op);
  if (bias.defined() && !fuses) Tensor(c).add_(bias);
}

#endif

void run(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& c, bool accumulate,
         std::string_view op) {
  const Tensor left = packed(a), right = packed(b);
  const MatmulDesc desc = describe(left, right, c, accumulate);
  FlopCounter::add(2 * desc.batch * desc.m * desc.n * desc.k);
  if (is_dry_run()) return;
  dispatch_floating(a.dtype(), op, [&]<class T>() {
#ifdef PLINTH_CUDA_BACKEND
    if (c.device().is_cuda()) {
      kernels::cuda::Product product = product_of(desc, left, right, c);
      product.bias = bias.defined() ? bias.raw_data() : nullptr;
      if (product.bias) product.epilogue = kernels::cuda::Epilogue::Bias;
      run_on_gpu(product, c, op);
      return;
    }
#endif
    kernels::cpu::matmul<T>(desc, left.data<T>(), right.data<T>(), c.data<T>(),
                            data_or_null<T>(bias));
  });
}

// Runs the product c = a b with an epilogue that only cuBLASLt has; false where it does not take
// it, or on the CPU. set(product) gives the epilogue and its operands.
template <class Set>
bool run_fused([[maybe_unused]] const Tensor& a, [[maybe_unused]] const Tensor& b,
               [[maybe_unused]] const Tensor& c, [[maybe_unused]] std::string_view op,
               [[maybe_unused]] Set set) {
#ifdef PLINTH_CUDA_BACKEND
  if (c.device().is_cuda()) {
    const MatmulDesc desc = describe(a, b, c, false);
    kernels::cuda::Product product = product_of(desc, a, b, c);
    set(product);
    if (!run_on_gpu(product, c, op)) return false;
    FlopCounter::add(2 * desc.m * desc.n * desc.k);
    return true;
  }
#endif
  return false;
}

}  // namespace

void check_dtypes(const Tensor& a, const Tensor& b, std::string_view op) {
  check_same_device(op, {&a, &b});
  check(a.dtype() == b.dtype(), ErrorKind::DType, op, "operands have dtypes ", name(a.dtype()),
        " and ", name(b.dtype()), ", expected one dtype");
}

void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, std::string_view op) {
  check(weight.dim() == 2, ErrorKind::Shape, op, "weight has shape ", weight.shape(),
        ", expected [out, in]");
  check(x.dim() >= 1 && x.size(-1) == weight.size(1), ErrorKind::Shape, op, "x has shape ",
        x.shape(), ", expected [..., ", weight.size(1), "] (weight is ", weight.shape(), ")");
  check_dtypes(x, weight, op);
  if (bias.defined()) {
    check(bias.shape() == Shape{weight.size(0)}, ErrorKind::Shape, op, "bias has shape ",
          bias.shape(), ", expected [", weight.size(0), "]");
    check_dtypes(bias, weight, op);
  }
}

void multiply(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& c,
              std::string_view op) {
  run(a, b, bias, c, false, op);
}

void multiply_add(const Tensor& a, const Tensor& b, const Tensor& c, std::string_view op) {
  run(a, b, {}, c, true, op);
}

void multiply_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& before,
                   const Tensor& after) {
  const Tensor left = packed(x.unsqueeze(0)), right = packed(w.unsqueeze(0)).transpose(1, 2);
  const auto with_gelu = [&](auto& product) {
    product.epilogue = kernels::cuda::Epilogue::GeluBias;
    product.bias = bias.raw_data();
    product.aux = before.raw_data();
  };
  if (run_fused(left, right, after.unsqueeze(0), "gelu_mlp", with_gelu)) return;
  multiply(left, right, bias, before.unsqueeze(0), "gelu_mlp");
  dispatch_floating(x.dtype(), "gelu_mlp", [&]<class T>() {
    PLINTH_RUN(x, gelu_tanh_forward<T>, before.numel(), before.data<T>(), after.data<T>());
  });
}

void multiply_gelu_gradient(const Tensor& dy, const Tensor& w, const Tensor& before,
                            const Tensor& dbefore, const Tensor& dbias) {
  const Tensor left = packed(dy.unsqueeze(0)), right = packed(w.unsqueeze(0));
  const Tensor out = dbefore.unsqueeze(0);
  const auto with_gradient = [&](auto& product) {
    product.epilogue = kernels::cuda::Epilogue::GeluGradient;
    product.aux = before.raw_data();
    product.bias_gradient = dbias.raw_data();
  };
  if (run_fused(left, right, out, "gelu_mlp", with_gradient)) return;
  multiply(left, right, {}, out, "gelu_mlp");
  dispatch_floating(dy.dtype(), "gelu_mlp", [&]<class T>() {
    PLINTH_RUN(dy, gelu_tanh_backward<T>, before.numel(), dbefore.data<T>(), before.data<T>(),
               dbefore.data<T>());
  });
  sum_columns(dbefore, dbias);
}

Tensor room_for_gradient(const BackwardContext& c, size_t input, const Shape& shape,
                         const Tensor& dy) {
  const GradientPlace place = c.place(input);
  const bool widens = dy.device().is_cuda() && place.dtype == compute_dtype(dy.dtype());
  if (place.dtype != dy.dtype() && !widens) return Tensor::empty(shape, dy.options());
  if (place.memory.defined()) return place.memory;
  return Tensor::empty(shape, {place.dtype, dy.device()});
}

void weight_gradients(const Tensor& dy, const Tensor& x, const Tensor& dw, const Tensor& db) {
  if (!dw.defined()) {
    if (db.defined()) sum_columns(plain(dy), db);
    return;
  }
  const Tensor left = plain(dy).transpose(0, 1).unsqueeze(0);
  const Tensor right = packed(x.unsqueeze(0)), out = dw.unsqueeze(0);
  const auto with_sums = [&](auto& product) {
    product.epilogue = kernels::cuda::Epilogue::BiasGradient;
    product.bias_gradient = db.raw_data();
  };
  const bool fuses = db.defined() && db.dtype() == dw.dtype();
  if (fuses && run_fused(left, right, out, "linear", with_sums)) return;
  multiply(left, right, {}, out, "linear");
  if (db.defined()) sum_columns(plain(dy), db);
}

void multiply_float8(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                     const Tensor& b_scales, const Tensor& bias, const Tensor& c,
                     std::string_view op) {
  const Tensor left = a.unsqueeze(0), right = b.transpose(0, 1).unsqueeze(0);
#ifdef PLINTH_CUDA_BACKEND
  if (c.device().is_cuda() && c.dtype() != DType::Float64)
    return run_float8(left, a_scales, right, b_scales, bias, c.unsqueeze(0), op);
#endif
  const DType wide = compute_dtype(c.dtype());
  Tensor sums = Tensor::empty(c.shape(), {wide, c.device()});
  multiply(left.to(wide), right.to(wide), {}, sums.unsqueeze(0), op);
  for (const Tensor& scales : {a_scales, b_scales}) sums.mul_(scales.narrow(0, 1, 1).to(wide));
  if (bias.defined()) sums.add_(bias.to(wide));
  Tensor(c).copy_(sums);
}

void sum_columns(const Tensor& x, const Tensor& out) {
  if (out.dtype() != x.dtype()) {
    const Tensor sums = Tensor::empty(out.shape(), x.options());
    sum_columns(x, sums);
    Tensor(out).copy_(sums);
    return;
  }
  dispatch_floating(x.dtype(), "column_sum", [&]<class T>() {
    PLINTH_RUN_WITH(x, column_sum_workspace(x.size(0), x.size(1)), column_sum, x.size(0), x.size(1),
                    x.data<T>(), out.data<T>());
  });
}

}  // namespace plinth
