#include <algorithm>

#include "apps/bench/bench_case.h"
#include "apps/bench/stopwatch.h"
#include "core/error.h"
#include "core/ops/attention.h"
#include "core/ops/conv.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/normalization.h"
#include "core/random.h"
#include "core/stream.h"
#include "nn/optim/adamw.h"

namespace plinth::apps {

namespace {

Tensor random_classes(int64_t count, int64_t classes, Device device) {
  Tensor ids = Tensor::empty({count}, {DType::Int64, {}});
  const auto stream = kernels::philox_stream(generator().next());
  int64_t* out = ids.data<int64_t>();
  for (int64_t i = 0; i < count; ++i)
    out[i] =
        static_cast<int64_t>(kernels::philox(stream, 0, i)[0] % static_cast<uint64_t>(classes));
  return ids.to(device);
}

// An op with a gradient for each of its floating-point inputs; forward and backward are timed
// apart.
class DifferentiableCase : public BenchCase {
 public:
  using Op = std::function<Tensor(const Tensors&)>;

  DifferentiableCase(Op op, Tensors inputs) : op_(std::move(op)), inputs_(std::move(inputs)) {
    for (Tensor& input : inputs_) {
      if (is_floating_point(input.dtype())) input.set_requires_grad();
    }
    const Tensor output = op_(inputs_);
    gradient_ = randn(output.shape(), output.options());
  }

  void prepare() override {
    output_ = {};
    for (Tensor& input : inputs_) input.set_grad({});
  }

  BenchTimes run() override {
    const Device device = gradient_.device();
    synchronize(device);
    const Stopwatch forward;
    output_ = op_(inputs_);
    synchronize(device);
    const double forward_ms = forward.milliseconds();
    const Stopwatch backward;
    output_.backward(gradient_);
    synchronize(device);
    return {{"forward_ms", forward_ms}, {"backward_ms", backward.milliseconds()}};
  }

 private:
  Op op_;
  Tensors inputs_;
  Tensor gradient_;
  Tensor output_;
};

class AdamWCase : public BenchCase {
 public:
  AdamWCase(int64_t count, int64_t size, TensorOptions options) : device_(options.device) {
    for (int64_t i = 0; i < count; ++i) {
      Tensor parameter = randn({size}, options);
      parameter.set_requires_grad();
      parameter.set_grad(randn({size}, options));
      group_.parameters.push_back({std::to_string(i), parameter});
    }
    optimizer_ = std::make_unique<nn::AdamW>(std::vector<nn::ParameterGroup>{group_},
                                             nn::AdamWOptions{.lr = 1e-4, .weight_decay = 0.1});
  }

  void prepare() override {}
  BenchTimes run() override {
    const Stopwatch time;
    optimizer_->step();
    synchronize(device_);
    return {{"forward_ms", time.milliseconds()}};
  }

 private:
  Device device_;
  nn::ParameterGroup group_;
  std::unique_ptr<nn::AdamW> optimizer_;
};

}  // namespace

const std::vector<OpBench>& op_benches() {
  static const std::vector<OpBench> ops = {
      {"attention", "batch,heads,time,head_dim", {8, 8, 256, 32}},
      {"conv2d", "batch,channels,size,out,kernel,stride", {8, 3, 224, 768, 16, 16}},
      {"layer_norm", "rows,dim", {2048, 256}},
      {"rms_norm", "rows,dim", {2048, 256}},
      {"cross_entropy", "rows,vocab", {2048, 8192}},
      {"linear_cross_entropy", "rows,dim,vocab", {2048, 256, 8192}},
      {"adamw", "tensors,elements", {16, 1 << 20}},
  };
  return ops;
}

std::unique_ptr<BenchCase> make_op_case(const OpBench& op, const std::vector<int64_t>& shape,
                                        TensorOptions options) {
  const auto dimensions = static_cast<size_t>(std::ranges::count(op.dimensions, ',') + 1);
  check(shape.size() == dimensions && std::ranges::all_of(shape, [](int64_t n) { return n > 0; }),
        ErrorKind::Argument, "bench", op.name, " got a --shape of ", shape.size(), " sizes, takes ",
        op.dimensions, ", each 1 or more");
  const auto differentiable = [](DifferentiableCase::Op function, Tensors inputs) {
    return std::make_unique<DifferentiableCase>(std::move(function), std::move(inputs));
  };
  if (op.name == "adamw") return std::make_unique<AdamWCase>(shape[0], shape[1], options);
  if (op.name == "attention") {
    const Shape full{std::span<const int64_t>(shape)};
    return differentiable(
        [](const Tensors& in) {
          AttentionOptions causal;
          causal.causal = true;
          return attention(in[0], in[1], in[2], causal);
        },
        {randn(full, options), randn(full, options), randn(full, options)});
  }
  if (op.name == "conv2d")
    return differentiable(
        [stride = shape[5]](const Tensors& in) {
          return conv2d(in[0], in[1], in[2], {.stride = stride});
        },
        {randn({shape[0], shape[1], shape[2], shape[2]}, options),
         randn({shape[3], shape[1], shape[4], shape[4]}, options), randn({shape[3]}, options)});
  const Shape matrix{shape[0], shape[1]};
  if (op.name == "layer_norm")
    return differentiable(
        [](const Tensors& in) { return layer_norm(in[0], in[1], in[2]); },
        {randn(matrix, options), randn({shape[1]}, options), randn({shape[1]}, options)});
  if (op.name == "rms_norm")
    return differentiable([](const Tensors& in) { return rms_norm(in[0], in[1]); },
                          {randn(matrix, options), randn({shape[1]}, options)});
  if (op.name == "cross_entropy")
    return differentiable(
        [](const Tensors& in) { return cross_entropy(in[0], in[1]); },
        {randn(matrix, options), random_classes(shape[0], shape[1], options.device)});
  Tensor weight = normal({shape[2], shape[1]}, 0, 0.02, generator().next(), options);
  return differentiable(
      [](const Tensors& in) { return linear_cross_entropy(in[0], in[1], in[2]); },
      {randn(matrix, options), weight, random_classes(shape[0], shape[2], options.device)});
}

}  // namespace plinth::apps
