#include "core/ops/ctc_loss.h"

#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/reduce.h"
#include "kernels/ctc_loss/ctc_loss.h"
#include "kernels/ctc_loss/ctc_loss_cuda.h"

namespace plinth {
namespace {

constexpr std::string_view kCtcLoss = "ctc_loss";

using kernels::cpu::CtcLossDesc;

// int64 [batch], within [0, limit].
Tensor checked_lengths(const Tensor& lengths, int64_t batch, int64_t limit,
                       std::string_view argument) {
  check_int64(lengths, kCtcLoss, argument);
  check_shape(lengths, {batch}, kCtcLoss, argument, "the batch of log_probs");
  const Tensor values = plain(lengths);
  if (values.device().is_cuda()) {
    check_indices(values, {std::string(kCtcLoss), std::string(argument), limit + 1});
    return values;
  }
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t length = values.data<int64_t>()[i];
    check(length >= 0 && length <= limit, ErrorKind::Argument, kCtcLoss, argument, " ", length,
          " (sample ", i, ") is not within [0, ", limit, "]");
  }
  return values;
}

void report_bad_labels(const Tensor& targets, const Tensor& lengths, const CtcLossDesc& desc) {
#ifdef PLINTH_CUDA_BACKEND
  const IndexCheck check{.op = std::string(kCtcLoss), .argument = "target", .limit = desc.classes};
  const auto [number, slot] = deferred(check, targets.device());
  kernels::cuda::report_bad_labels(stream_of(targets), desc,
                                   {targets.data<int64_t>(), nullptr, lengths.data<int64_t>()},
                                   number, slot);
#else
  static_cast<void>(targets), static_cast<void>(lengths), static_cast<void>(desc);
#endif
}

Tensor checked_targets(const Tensor& targets, const Tensor& lengths, const CtcLossDesc& desc) {
  const Tensor values = plain(targets);
  if (values.device().is_cuda()) {
    report_bad_labels(values, lengths, desc);
    return values;
  }
  for (int64_t i = 0; i < desc.batch; ++i) {
    const int64_t* row = values.data<int64_t>() + i * desc.most;
    for (int64_t s = 0; s < lengths.data<int64_t>()[i]; ++s)
      check(row[s] >= 0 && row[s] < desc.classes && row[s] != desc.blank, ErrorKind::Argument,
            kCtcLoss, "target ", row[s], " (sample ", i, ", label ", s, ") is no class in [0, ",
            desc.classes, ") other than blank ", desc.blank);
  }
  return values;
}

CtcLossDesc described(const Tensor& log_probs, const Tensor& targets,
                      const CtcLossOptions& options) {
  check_floating(log_probs, kCtcLoss, "log_probs");
  check(log_probs.dim() == 3, ErrorKind::Shape, kCtcLoss, "log_probs has shape ", log_probs.shape(),
        ", expected [time, batch, classes]");
  check_int64(targets, kCtcLoss, "targets");
  check(targets.dim() == 2 && targets.size(0) == log_probs.size(1), ErrorKind::Shape, kCtcLoss,
        "targets has shape ", targets.shape(), ", expected [", log_probs.size(1),
        ", labels] (batch of log_probs)");
  check(options.blank >= 0 && options.blank < log_probs.size(2), ErrorKind::Argument, kCtcLoss,
        "blank is ", options.blank, ", expected a class in [0, ", log_probs.size(2), ")");
  return {.time = log_probs.size(0),
          .batch = log_probs.size(1),
          .classes = log_probs.size(2),
          .most = targets.size(1),
          .blank = options.blank,
          .zero_infinity = options.zero_infinity};
}

kernels::cpu::CtcTargets pointers(const Tensor& targets, const Tensor& input_lengths,
                                  const Tensor& target_lengths) {
  return {targets.data<int64_t>(), input_lengths.data<int64_t>(), target_lengths.data<int64_t>()};
}

Tensor backward(const BackwardContext& c, const Tensor& dy, const CtcLossDesc& desc) {
  const Tensor x = plain(c.saved(0)), dloss = plain(dy);
  const Tensor dx = Tensor::empty(x.shape(), x.options());
  dispatch_floating(x.dtype(), kCtcLoss, [&]<class T>() {
    PLINTH_RUN_WITH(x, ctc_loss_backward_workspace(desc), ctc_loss_backward<T>, desc,
                    dloss.data<compute_t<T>>(), x.data<T>(),
                    pointers(c.saved(1), c.saved(2), c.saved(3)), dx.data<T>());
  });
  return record_undifferentiable("ctc_loss_backward", {dy, c.saved(0)}, dx);
}

// What each loss counts in the mean.
Tensor shares(const Tensor& target_lengths, DType dtype) {
  const NoGradGuard no_grad;
  const auto batch = static_cast<double>(target_lengths.numel());
  constexpr double kMost = std::numeric_limits<double>::max();
  const Tensor lengths = clamp(target_lengths.to(DType::Float64), 1, kMost);
  return reciprocal(lengths * batch).to(dtype);
}

}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, CtcLossOptions options) {
  const OpScope scope(__func__);
  const CtcLossDesc desc = described(log_probs, targets, options);
  check_same_device(kCtcLoss, {&log_probs, &targets, &input_lengths, &target_lengths});
  const Tensor steps = checked_lengths(input_lengths, desc.batch, desc.time, "input_length");
  const Tensor lengths = checked_lengths(target_lengths, desc.batch, desc.most, "target_length");
  const Tensor labels = checked_targets(targets, lengths, desc);
  const Tensor x = plain(log_probs);
  const DType wide = compute_dtype(x.dtype());
  const Tensor losses = Tensor::empty({desc.batch}, {wide, x.device()});
  dispatch_floating(x.dtype(), kCtcLoss, [&]<class T>() {
    PLINTH_RUN_WITH(x, ctc_loss_forward_workspace(desc), ctc_loss_forward<T>, desc, x.data<T>(),
                    pointers(labels, steps, lengths), losses.data<compute_t<T>>());
  });
  const Tensor each = record("ctc_loss", {log_probs}, losses, {log_probs, labels, steps, lengths},
                             [desc](const BackwardContext& c, const Tensor& dy) -> Tensors {
                               return {backward(c, dy, desc)};
                             });
  switch (options.reduction) {
    case Reduction::Mean: return sum(each * shares(lengths, wide));
    case Reduction::Sum: return sum(each);
    default: return each;
  }
}

}  // namespace plinth
