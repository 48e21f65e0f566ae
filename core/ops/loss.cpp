#include "core/ops/loss.h"

#include <algorithm>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/matmul.h"
#include "core/ops/on_device.h"
#include "core/ops/product.h"
#include "core/ops/reduce.h"
#include "core/ops/softplus.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/cross_entropy_cuda.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_cuda.h"

namespace plinth {
namespace {

Tensor reduced(const Tensor& losses, Reduction reduction) {
  switch (reduction) {
    case Reduction::Mean: return mean(losses);
    case Reduction::Sum: return sum(losses);
    default: return losses;
  }
}

void check_options(const CrossEntropyOptions& options, std::string_view op) {
  check(options.label_smoothing >= 0 && options.label_smoothing <= 1, ErrorKind::Argument, op,
        "label_smoothing is ", options.label_smoothing, ", expected within [0, 1]");
  check(options.logits_at_once > 0, ErrorKind::Argument, op, "logits_at_once is ",
        options.logits_at_once, ", expected at least 1");
}

// target, checked to number classes and to have `rows`' leading shape.
Tensor checked_target(const Tensor& target, const Tensor& rows, int64_t classes,
                      const CrossEntropyOptions& options, std::string_view op,
                      std::string_view rows_name) {
  check_int64(target, op, "target");
  check_same_device(op, {&rows, &target});
  Shape expected = rows.shape();
  expected.erase(expected.dim() - 1);
  check_shape(target, expected, op, "target", detail::concat(rows_name, " without its last size"));
  const Tensor classes_of = plain(target);
  check_indices(classes_of, {.op = std::string(op),
                             .argument = "target",
                             .limit = classes,
                             .ignored = options.ignore_index});
  return classes_of;
}

// Of targets on the CPU.
int64_t count_of(const Tensor& target, const CrossEntropyOptions& options) {
  const auto* const values = target.data<int64_t>();
  return target.numel() - std::count(values, values + target.numel(), options.ignore_index);
}

// What turns a sum of losses of `dtype` into the reduced loss: a number beside the target, so that
// nobody waits for a GPU that counts. Undefined: 1.
Tensor scale_of(const Tensor& target, const CrossEntropyOptions& options, DType dtype) {
  if (options.reduction != Reduction::Mean) return {};
  if (target.device().is_cpu()) {
    const int64_t counted = count_of(target, options);
    return scalar(counted > 0 ? 1 / static_cast<double>(counted) : 0, {dtype, {}});
  }
  const Tensor scale = Tensor::empty({}, {dtype, target.device()});
#ifdef PLINTH_CUDA_BACKEND
  dispatch_floating(dtype, "cross_entropy", [&]<class C>() {
    kernels::cuda::mean_scale<compute_t<C>>(stream_of(target), target.numel(), options.ignore_index,
                                            target.data<int64_t>(), scale.data<compute_t<C>>());
  });
#endif
  return scale;
}

Tensor total(const Tensor& losses, const Tensor& scale) {
  return scale.defined() ? sum(losses) * scale : sum(losses);
}

kernels::cpu::CrossEntropyDesc describe(const Rows& matrix, const CrossEntropyOptions& options) {
  return {.rows = matrix.rows,
          .classes = matrix.cols,
          .ignore_index = options.ignore_index,
          .label_smoothing = options.label_smoothing};
}

Tensor cross_entropy_backward(const BackwardContext& c, const Tensor& dy,
                              const kernels::cpu::CrossEntropyDesc& desc) {
  const Tensor logits = plain(c.saved(0)), dloss = plain(dy);
  const Tensor &target = c.saved(1), &lse = c.saved(2);
  const Tensor dlogits = Tensor::empty(logits.shape(), logits.options());
  dispatch_floating(logits.dtype(), "cross_entropy_backward", [&]<class T>() {
    PLINTH_RUN(dloss, cross_entropy_backward, desc, dloss.data<compute_t<T>>(), logits.data<T>(),
               target.data<int64_t>(), lse.data<compute_t<T>>(), dlogits.data<T>());
  });
  return record_undifferentiable("cross_entropy_backward", {dy, c.saved(0)}, dlogits);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, CrossEntropyOptions options) {
  const OpScope scope(__func__);
  check_floating(logits, "cross_entropy", "logits");
  check_options(options, "cross_entropy");
  const Rows matrix = rows_of(logits, "cross_entropy", "logits");
  const Tensor classes =
      checked_target(target, logits, matrix.cols, options, "cross_entropy", "logits");
  const kernels::cpu::CrossEntropyDesc desc = describe(matrix, options);
  const Tensor from = plain(logits);
  const TensorOptions wide{compute_dtype(logits.dtype()), logits.device()};
  const Tensor losses = Tensor::empty(target.shape(), wide),
               lse = Tensor::empty({matrix.rows}, wide);
  dispatch_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    PLINTH_RUN(from, cross_entropy_forward, desc, from.data<T>(), classes.data<int64_t>(),
               losses.data<compute_t<T>>(), lse.data<compute_t<T>>());
  });
  const Tensor rows = record("cross_entropy", {logits}, losses, {logits, classes, lse},
                             [desc](const BackwardContext& c, const Tensor& dy) -> Tensors {
                               return {cross_entropy_backward(c, dy, desc)};
                             });
  if (options.reduction == Reduction::None) return rows;
  return total(rows, scale_of(classes, options, wide.dtype));
}

// ---- with the product ----

namespace {

// The gradients of the scaled sum of the losses; undefined where they are not wanted.
struct HeadGradients {
  Tensor dx, dw;
  Tensor all_dw;  // on a GPU, with rows_on_gpu()
};

// The gradient of a head's weight [vocab, dim] on a GPU is the first rows of a tensor of so many:
// of GPT-2's 50257 words, whose products' rows begin between whole vectors, cuBLASLt has none of
// its fast kernels.
int64_t rows_on_gpu(int64_t vocab) {
  constexpr int64_t kMultiple = 64;
  return (vocab + kMultiple - 1) / kMultiple * kMultiple;
}

#ifdef PLINTH_CUDA_BACKEND
// x [rows, columns] with rows of zeros below.
Tensor with_rows(const Tensor& x, int64_t rows) {
  if (x.size(0) == rows) return x;
  const Tensor all = Tensor::empty({rows, x.size(1)}, x.options());
  all.narrow(0, 0, x.size(0)).copy_(x);
  all.narrow(0, x.size(0), rows - x.size(0)).zero_();
  return all;
}

// Chunks of as many rows as each other, whole tiles of a product, since dx has no more tiles than
// its rows give.
int64_t rows_at_once(int64_t rows, int64_t words, int64_t logits_at_once) {
  constexpr int64_t kTile = 128;
  const auto tiles_of = [](int64_t count) { return (count + kTile - 1) / kTile; };
  const int64_t most = std::max<int64_t>(1, logits_at_once / std::max<int64_t>(1, words) / kTile);
  const int64_t tiles = tiles_of(rows), chunks = (tiles + most - 1) / most;
  return chunks <= 1 ? rows : (tiles + chunks - 1) / chunks * kTile;
}

// On the GPU the products are ordinary ones, and a chunk of rows is worked on at a time, so that
// the logits of all rows are never in memory. Logits and the weight's gradient are float32. Words
// beyond the vocabulary have a weight of zeros, and no part in a softmax.
void run_head_in_chunks(const kernels::cpu::LinearCrossEntropyDesc& desc, const Tensor& x,
                        const Tensor& weight, const Tensor& target, const Tensor& losses,
                        const HeadGradients& gradients, const Tensor& scale,
                        int64_t logits_at_once) {
  constexpr std::string_view kOp = "linear_cross_entropy";
  const NoGradGuard no_grad;
  const int64_t words = rows_on_gpu(desc.vocab);
  const TensorOptions wide{compute_dtype(x.dtype()), x.device()};
  const Tensor rows = x.reshape({1, desc.rows, desc.dim});
  const Tensor head = with_rows(weight, words).unsqueeze(0);
  const Tensor dx = gradients.dx.defined() ? gradients.dx.reshape(rows.shape()) : Tensor();
  const bool differentiates = gradients.dx.defined() || gradients.all_dw.defined();
  const int64_t chunk = rows_at_once(desc.rows, words, logits_at_once);
  for (int64_t first = 0; first < desc.rows; first += chunk) {
    kernels::cpu::LinearCrossEntropyDesc part = desc;
    part.rows = std::min(chunk, desc.rows - first);
    const Tensor some = rows.narrow(1, first, part.rows);
    const Tensor logits = Tensor::empty({1, part.rows, words}, wide);
    multiply(some, head.transpose(1, 2), {}, logits, kOp);
    const Tensor dlogits = differentiates ? Tensor::empty(logits.shape(), x.options()) : Tensor();
    if (differentiates && words > desc.vocab)
      dlogits.narrow(2, desc.vocab, words - desc.vocab).zero_();
    dispatch_floating(x.dtype(), kOp, [&]<class T>() {
      using C = compute_t<T>;
      kernels::cuda::linear_cross_entropy_rows<C, T>(
          stream_of(x), part, words, logits.data<C>(), target.data<int64_t>() + first,
          losses.data<C>() + first, data_or_null<T>(dlogits), data_or_null<C>(scale));
    });
    if (dx.defined()) multiply(dlogits, head, {}, dx.narrow(1, first, part.rows), kOp);
    if (!gradients.all_dw.defined()) continue;
    const Tensor across = dlogits.transpose(1, 2), dw = gradients.all_dw.unsqueeze(0);
    first == 0 ? multiply(across, some, {}, dw, kOp) : multiply_add(across, some, dw, kOp);
  }
}
#endif

// Each row's loss, and the gradients for which there is room.
Tensor run_head(const Tensor& x, const Tensor& weight, const Tensor& target,
                const CrossEntropyOptions& options, const Tensor& scale,
                const HeadGradients& gradients) {
  const Rows matrix = rows_of(x, "linear_cross_entropy");
  const kernels::cpu::LinearCrossEntropyDesc desc{.rows = matrix.rows,
                                                  .dim = matrix.cols,
                                                  .vocab = weight.size(0),
                                                  .ignore_index = options.ignore_index,
                                                  .label_smoothing = options.label_smoothing};
  const Tensor rows = plain(x), head = plain(weight);
  const Tensor losses = Tensor::empty(target.shape(), {compute_dtype(x.dtype()), x.device()});
#ifdef PLINTH_CUDA_BACKEND
  if (x.device().is_cuda()) {
    run_head_in_chunks(desc, rows, head, target, losses, gradients, scale, options.logits_at_once);
    return losses;
  }
#endif
  if (FlopCounter::counting()) {
    const int64_t products = 1 + gradients.dx.defined() + gradients.dw.defined();
    FlopCounter::add(2 * products * count_of(target, options) * desc.dim * desc.vocab);
  }
  if (is_dry_run()) return losses;
  dispatch_floating(x.dtype(), "linear_cross_entropy", [&]<class T>() {
    using C = compute_t<T>;
    kernels::cpu::linear_cross_entropy(desc, rows.data<T>(), head.data<T>(), target.data<int64_t>(),
                                       losses.data<C>(), data_or_null<T>(gradients.dx),
                                       data_or_null<C>(gradients.dw),
                                       scale.defined() ? *scale.data<C>() : C(1));
  });
  return losses;
}

// In float16 a mean's factor leaves nothing of small gradients, which the factor of an outer loss
// scale, that comes later, could not bring back: the saved ones are then those of the sum.
bool saves_gradients_of_sum(DType dtype) {
  return dtype == DType::Float16;
}

// The saved gradients of a loss, whose own is dy; they lack the factor that is saved behind them.
Tensors scaled_gradients(const BackwardContext& c, const Tensor& dy) {
  const Tensor& scale = c.saved(2);
  // Reading dy would make the host wait for a GPU.
  const bool is_one = c.starts_with_one() || (dy.device().is_cpu() && dy.item() == 1);
  if (is_one && !scale.defined()) return {c.saved(0), c.saved(1)};
  const Tensor factor = scale.defined() ? dy * scale : dy;
  Tensors result;
  for (size_t i = 0; i < 2; ++i) {
    const Tensor& gradient = c.saved(i);
    result.push_back(gradient.defined() ? (gradient * factor).to(gradient.dtype()) : Tensor());
  }
  return result;
}

}  // namespace

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                            CrossEntropyOptions options) {
  const OpScope scope(__func__);
  constexpr std::string_view kOp = "linear_cross_entropy";
  check_options(options, kOp);
  Tensor rows, head;
  {
    // The weight's gradient is computed in float32, so it goes to the unconverted weight.
    const NoGradGuard no_grad;
    rows = autocast(x), head = autocast(weight);
  }
  check_floating(rows, kOp, "x");
  check_like(head, rows, kOp, "weight", "x");
  const Rows matrix = rows_of(rows, kOp);
  check(head.dim() == 2 && head.size(1) == matrix.cols, ErrorKind::Shape, kOp, "weight has shape ",
        head.shape(), ", expected [vocab, ", matrix.cols, "] (last dimension of x)");
  const Tensor classes = checked_target(target, rows, head.size(0), options, kOp, "x");
  const bool wants_grad = needs_grad({x, weight});
  if (options.reduction == Reduction::None) {
    return wants_grad ? cross_entropy(linear(x, weight), target, options)
                      : run_head(rows, head, classes, options, {}, {});
  }
  const Tensor scale = scale_of(classes, options, compute_dtype(rows.dtype()));
  HeadGradients gradients;
  if (needs_grad({x})) gradients.dx = Tensor::empty(rows.shape(), rows.options());
  if (needs_grad({weight})) {
    const TensorOptions wide{compute_dtype(rows.dtype()), rows.device()};
    // On a GPU the first chunk's product writes all of it.
    const bool is_written = head.device().is_cuda() && matrix.rows > 0;
    const int64_t words = head.device().is_cuda() ? rows_on_gpu(head.size(0)) : head.size(0);
    const Shape shape{words, head.size(1)};
    gradients.all_dw = is_written ? Tensor::empty(shape, wide) : zeros(shape, wide);
    gradients.dw = gradients.all_dw.narrow(0, 0, head.size(0));
  }
  const NoGradGuard no_grad;
  const bool saves_sum = saves_gradients_of_sum(rows.dtype());
  const Tensor losses =
      run_head(rows, head, classes, options, saves_sum ? Tensor() : scale, gradients);
  const Tensor loss = total(losses, scale);
  const GradModeGuard record_again(wants_grad);
  return record(kOp, {x, weight}, loss, {gradients.dx, gradients.dw, saves_sum ? scale : Tensor()},
                [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  check(!grad_enabled(), ErrorKind::Argument, "linear_cross_entropy",
                        "has no second derivative");
                  return scaled_gradients(c, dy);
                });
}

// ---- elementwise losses ----

namespace {

struct Pair {
  Tensor input, target;
};

// Both in the dtype that losses compute in.
Pair checked_pair(const Tensor& input, const Tensor& target, std::string_view op,
                  std::string_view input_name) {
  check_floating(input, op, input_name);
  check_shape(target, input.shape(), op, "target", detail::concat("that of ", input_name));
  check_floating(target, op, "target");
  const DType dtype = compute_dtype(promote(input.dtype(), target.dtype()));
  return {input.to(dtype), target.to(dtype)};
}

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  const OpScope scope(__func__);
  const auto [x, t] = checked_pair(input, target, "mse_loss", "input");
  return reduced(square(x - t), reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& logits, const Tensor& target,
                                        Reduction reduction) {
  const OpScope scope(__func__);
  constexpr std::string_view kOp = "binary_cross_entropy_with_logits";
  const auto [x, t] = checked_pair(logits, target, kOp, "logits");
  Tensor losses;
  {
    const NoGradGuard no_grad;
    losses = maximum(x, scalar(0, x.options())) - x * t + softplus_excess(x);
  }
  const Tensor recorded = record(kOp, {x, t}, losses, {x, needs_grad({x}) ? t : Tensor()},
                                 [](const BackwardContext& c, const Tensor& dy) -> Tensors {
                                   const Tensor& x = c.saved(0);
                                   return {c.needs(0) ? dy * (sigmoid(x) - c.saved(1)) : Tensor(),
                                           c.needs(1) ? neg(dy * x) : Tensor()};
                                 });
  return reduced(recorded, reduction);
}

}  // namespace plinth
