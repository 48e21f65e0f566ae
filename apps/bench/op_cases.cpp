#include <algorithm>

#include "apps/bench/bench_case.h"
#include "apps/bench/device_timer.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::apps {

namespace {

// Forward and backward are timed apart.
class DifferentiableCase final : public OpCase {
 public:
  DifferentiableCase(DifferentiableOp op, BenchPass pass, Device device)
      : op_(std::move(op)), pass_(pass), device_(device), timer_(device) {
    for (Tensor& input : op_.inputs) {
      if (is_floating_point(input.dtype())) input.set_requires_grad();
    }
    for (const Tensor& output : op_.op(op_.inputs))
      gradients_.push_back(randn(output.shape(), output.options()));
  }

  void prepare() override {
    outputs_.clear();
    for (Tensor& input : op_.inputs) input.set_grad({});
  }

  BenchTimes run() override {
    synchronize(device_);
    BenchTimes times;
    const double forward = timer_.milliseconds([&] { outputs_ = op_.op(op_.inputs); });
    if (pass_ != BenchPass::Backward) times.emplace_back("forward_ms", forward);
    if (pass_ == BenchPass::Forward) return times;
    times.emplace_back("backward_ms", timer_.milliseconds([&] { backward(outputs_, gradients_); }));
    return times;
  }

  PassCost cost(std::string_view part) const override {
    return part == "backward_ms" ? op_.backward : op_.forward;
  }

 private:
  DifferentiableOp op_;
  BenchPass pass_;
  Device device_;
  DeviceTimer timer_;
  Tensors outputs_, gradients_;
};

class PlainCase final : public OpCase {
 public:
  PlainCase(PlainOp op, Device device) : op_(std::move(op)), device_(device), timer_(device) {}

  void prepare() override {}
  BenchTimes run() override {
    synchronize(device_);
    return {{"forward_ms", timer_.milliseconds(op_.run)}};
  }
  PassCost cost(std::string_view) const override { return op_.forward; }

 private:
  PlainOp op_;
  Device device_;
  DeviceTimer timer_;
};

}  // namespace

void check_shape(const OpBench& op, const OpSizes& shape) {
  const auto dimensions = static_cast<size_t>(std::ranges::count(op.dimensions, ',') + 1);
  check(shape.size() == dimensions && std::ranges::all_of(shape, [](int64_t n) { return n > 0; }),
        ErrorKind::Argument, "bench", op.name, " got a --shape of ", shape.size(), " sizes, takes ",
        op.dimensions, ", each 1 or more");
}

std::unique_ptr<OpCase> make_op_case(const OpBench& op, const OpSizes& shape, BenchPass pass,
                                     TensorOptions options) {
  check_shape(op, shape);
  if (op.make) {
    DifferentiableOp made = op.make(shape, options);
    check(pass != BenchPass::Backward || made.backward.bytes > 0, ErrorKind::Argument, "bench",
          op.name, " got --pass backward, but computes its gradients in the forward pass");
    return std::make_unique<DifferentiableCase>(std::move(made), pass, options.device);
  }
  check(pass != BenchPass::Backward, ErrorKind::Argument, "bench", op.name,
        " got --pass backward, but has no backward pass");
  return std::make_unique<PlainCase>(op.make_plain(shape, options), options.device);
}

}  // namespace plinth::apps
