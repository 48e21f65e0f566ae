// The ops that `plinth bench` knows, with what their kernels' contracts (kernels/<name>/<name>.h
// and <name>_cuda.h) say that they move and compute.

#include <algorithm>
#include <memory>
#include <set>

#include "apps/bench/bench_case.h"
#include "core/ops/activation.h"
#include "core/ops/conv.h"
#include "core/ops/ctc_loss.h"
#include "core/ops/dropout.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/normalization.h"
#include "core/ops/rope.h"
#include "core/ops/softmax.h"
#include "core/random.h"
#include "nn/clip.h"
#include "nn/optim/adamw.h"
#include "nn/optim/lion.h"
#include "nn/optim/sgd.h"

namespace plinth::apps {

namespace {

// The bytes of an element of what kernels compute in: statistics, and the gradients of tables.
double wide_bytes(TensorOptions options) {
  return static_cast<double>(size_of(nn::compute_dtype(options.dtype)));
}

Tensor random_classes(int64_t count, int64_t classes, Device device) {
  Tensor ids = Tensor::empty({count}, {DType::Int64, {}});
  const auto stream = kernels::philox_stream(generator().next());
  int64_t* out = ids.data<int64_t>();
  for (int64_t i = 0; i < count; ++i)
    out[i] =
        static_cast<int64_t>(kernels::philox(stream, 0, i)[0] % static_cast<uint64_t>(classes));
  return ids.to(device);
}

Tensor matrix(const OpSizes& s, TensorOptions options) {
  return randn({s[0], s[1]}, options);
}
Tensor vector(const OpSizes& s, TensorOptions options) {
  return randn({s[1]}, options);
}

// How many matrices of the shape an op moves, and its operations an element.
struct Traffic {
  double moved, flops;
};

PassCost cost_of(const OpSizes& s, TensorOptions options, Traffic traffic) {
  return {traffic.moved * elements(s) * element_bytes(options), traffic.flops * elements(s)};
}

// An op of `inputs` matrices [rows, dim], and `vectors` of [dim].
OpBench matrix_bench(std::string_view name, int inputs, int vectors, Traffic forward,
                     Traffic backward, const std::function<Tensors(const Tensors&)>& op) {
  const auto make = [=](const OpSizes& s, TensorOptions options) {
    Tensors tensors;
    for (int i = 0; i < inputs; ++i) tensors.push_back(matrix(s, options));
    for (int i = 0; i < vectors; ++i) tensors.push_back(vector(s, options));
    return DifferentiableOp{op, tensors, cost_of(s, options, forward),
                            cost_of(s, options, backward)};
  };
  return {name, "rows,dim", {2048, 256}, make};
}

DifferentiableOp matmul_op(const OpSizes& s, TensorOptions options) {
  const double m = static_cast<double>(s[0]), n = static_cast<double>(s[1]),
               k = static_cast<double>(s[2]);
  const double bytes = (m * k + k * n + m * n) * element_bytes(options);
  return {[](const Tensors& in) -> Tensors { return {matmul(in[0], in[1])}; },
          {randn({s[0], s[2]}, options), randn({s[2], s[1]}, options)},
          {bytes, 2 * m * n * k},
          {2 * bytes, 4 * m * n * k}};
}

DifferentiableOp conv2d_op(const OpSizes& s, TensorOptions options) {
  const Shape input{s[0], s[1], s[2], s[2]}, kernel{s[3], s[1], s[4], s[4]};
  const auto convolve = [stride = s[5]](const Tensors& in) -> Tensors {
    return {conv2d(in[0], in[1], in[2], {.stride = stride})};
  };
  const int64_t side = (s[2] - s[4]) / s[5] + 1;
  const double depth = static_cast<double>(s[1] * s[4] * s[4]);
  const double out = static_cast<double>(s[0] * s[3] * side * side);
  const double bytes =
      (static_cast<double>(input.numel() + kernel.numel()) + out) * element_bytes(options);
  return {convolve,
          {randn(input, options), randn(kernel, options), randn({s[3]}, options)},
          {bytes, 2 * out * depth},
          {2 * bytes, 4 * out * depth}};
}

DifferentiableOp cross_entropy_op(const OpSizes& s, TensorOptions options) {
  return {[](const Tensors& in) -> Tensors { return {cross_entropy(in[0], in[1])}; },
          {matrix(s, options), random_classes(s[0], s[1], options.device)},
          cost_of(s, options, {1, 10}),
          cost_of(s, options, {2, 10})};
}

DifferentiableOp linear_cross_entropy_op(const OpSizes& s, TensorOptions options) {
  const double rows = static_cast<double>(s[0]), dim = static_cast<double>(s[1]),
               vocab = static_cast<double>(s[2]);
  const double bytes =
      (2 * rows * dim + vocab * dim) * element_bytes(options) + vocab * dim * wide_bytes(options);
  return {[](const Tensors& in) -> Tensors { return {linear_cross_entropy(in[0], in[1], in[2])}; },
          {matrix(s, options), normal({s[2], s[1]}, 0, 0.02, generator().next(), options),
           random_classes(s[0], s[2], options.device)},
          {bytes, 6 * rows * dim * vocab},  // both gradients are made at once
          {}};
}

// Targets of a fifth as many labels as there are steps, none twice in a row.
DifferentiableOp ctc_loss_op(const OpSizes& s, TensorOptions options) {
  const int64_t most = std::max<int64_t>(1, s[0] / 5);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < s[1] * most; ++i) labels.push_back(1 + i % (s[2] - 1));
  const Tensor targets = from_values(labels, {s[1], most});
  const Tensor steps = full({s[1]}, static_cast<double>(s[0]), {DType::Int64, {}});
  const Tensor lengths = full({s[1]}, static_cast<double>(most), {DType::Int64, {}});
  const double states = static_cast<double>(s[0] * s[1] * (2 * most + 1));
  const double bytes = elements(s) * element_bytes(options);
  return {[=](const Tensors& in) -> Tensors { return {ctc_loss(in[0], targets, steps, lengths)}; },
          {log_softmax(randn({s[0], s[1], s[2]}, options), -1)},
          {bytes, 80 * states},
          {3 * bytes, 200 * states}};
}

DifferentiableOp embedding_op(const OpSizes& s, TensorOptions options) {
  const Tensor ids = random_classes(s[0], s[1], options.device);
  const std::vector<double> drawn = to_vector(ids);
  const auto rows = static_cast<double>(std::set<double>(drawn.begin(), drawn.end()).size());
  const double n = static_cast<double>(s[0]), dim = static_cast<double>(s[2]);
  return {[](const Tensors& in) -> Tensors { return {embedding(in[0], in[1])}; },
          {randn({s[1], s[2]}, options), ids},
          {2 * n * dim * element_bytes(options), 0},
          {n * dim * element_bytes(options) + 2 * rows * dim * wide_bytes(options), n * dim}};
}

DifferentiableOp rope_op(const OpSizes& s, TensorOptions options) {
  const RopeTable table =
      rope_table(s[1], s[3], 1e4, {}, nn::compute_dtype(options.dtype)).to(options.device);
  return {[table](const Tensors& in) -> Tensors { return {rope(in[0], table)}; },
          {randn(Shape{std::span<const int64_t>(s)}, options)},
          cost_of(s, options, {2, 4}),
          cost_of(s, options, {2, 4})};
}

DifferentiableOp cast_op(const OpSizes& s, TensorOptions options) {
  const DType to = options.dtype == DType::Float32 ? DType::BFloat16 : DType::Float32;
  const double bytes = elements(s) * (element_bytes(options) + static_cast<double>(size_of(to)));
  return {[to](const Tensors& in) -> Tensors { return {in[0].to(to)}; },
          {randn({s[0]}, options)},
          {bytes, 0},
          {bytes, 0}};
}

std::vector<nn::ParameterGroup> random_parameters(const OpSizes& s, TensorOptions options) {
  nn::ParameterGroup group;
  for (int64_t i = 0; i < s[0]; ++i) {
    Tensor parameter = randn({s[1]}, options);
    parameter.set_requires_grad();
    parameter.set_grad(randn({s[1]}, options));
    group.parameters.push_back({std::to_string(i), parameter});
  }
  return {group};
}

// `states` moments are read and written, and so is the parameter; 16-bit ones have a master in
// float32, and are written only. The gradient is read.
template <class Optimizer, class Options>
OpBench optimizer_bench(std::string_view name, double states, double flops,
                        const Options& settings) {
  const auto make = [=](const OpSizes& s, TensorOptions options) {
    const auto optimizer = std::make_shared<Optimizer>(random_parameters(s, options), settings);
    const bool has_master = wide_bytes(options) > element_bytes(options);
    const double element = has_master
                               ? 2 * element_bytes(options) + 2 * (1 + states) * wide_bytes(options)
                               : 3 * element_bytes(options) + 2 * states * wide_bytes(options);
    return PlainOp{[optimizer] { optimizer->step(); },
                   {element * elements(s), flops * elements(s)}};
  };
  return {name, "tensors,elements", {16, 1 << 20}, {}, make};
}

PlainOp global_norm_op(const OpSizes& s, TensorOptions options) {
  Tensors tensors;
  for (int64_t i = 0; i < s[0]; ++i) tensors.push_back(randn({s[1]}, options));
  return {[tensors] { nn::global_norm(tensors); }, cost_of(s, options, {1, 2})};
}

std::vector<OpBench> norm_benches() {
  return {
      matrix_bench("layer_norm", 1, 2, {2, 8}, {3, 14},
                   [](const Tensors& in) -> Tensors { return {layer_norm(in[0], in[1], in[2])}; }),
      matrix_bench("add_layer_norm", 2, 2, {4, 9}, {4, 15},
                   [](const Tensors& in) -> Tensors {
                     const AddNorm result = add_layer_norm(in[0], in[1], in[2], in[3]);
                     return {result.sum, result.normed};
                   }),
      matrix_bench("rms_norm", 1, 1, {2, 5}, {3, 10},
                   [](const Tensors& in) -> Tensors { return {rms_norm(in[0], in[1])}; }),
      matrix_bench("add_rms_norm", 2, 1, {4, 6}, {4, 11},
                   [](const Tensors& in) -> Tensors {
                     const AddNorm result = add_rms_norm(in[0], in[1], in[2]);
                     return {result.sum, result.normed};
                   }),
      matrix_bench("softmax", 1, 0, {2, 10}, {3, 4},
                   [](const Tensors& in) -> Tensors { return {softmax(in[0], -1)}; }),
      matrix_bench("log_softmax", 1, 0, {2, 10}, {3, 10},
                   [](const Tensors& in) -> Tensors { return {log_softmax(in[0], -1)}; }),
  };
}

std::vector<OpBench> pointwise_benches() {
  return {
      matrix_bench("gelu", 1, 0, {2, 20}, {3, 40},
                   [](const Tensors& in) -> Tensors { return {gelu(in[0])}; }),
      matrix_bench("gelu_tanh", 1, 0, {2, 20}, {3, 40},
                   [](const Tensors& in) -> Tensors { return {gelu(in[0], GeluForm::Tanh)}; }),
      matrix_bench("gelu_quick", 1, 0, {2, 11}, {3, 16},
                   [](const Tensors& in) -> Tensors { return {gelu(in[0], GeluForm::Quick)}; }),
      matrix_bench("silu", 1, 0, {2, 10}, {3, 15},
                   [](const Tensors& in) -> Tensors { return {silu(in[0])}; }),
      matrix_bench("relu", 1, 0, {2, 2}, {3, 2},
                   [](const Tensors& in) -> Tensors { return {relu(in[0])}; }),
      matrix_bench("swiglu", 2, 0, {3, 15}, {5, 15},
                   [](const Tensors& in) -> Tensors { return {swiglu(in[0], in[1])}; }),
      matrix_bench("bias_gelu", 1, 1, {2, 20}, {3, 40},
                   [](const Tensors& in) -> Tensors { return {bias_gelu(in[0], in[1])}; }),
      matrix_bench("dropout", 1, 0, {2, 0}, {2, 0},
                   [](const Tensors& in) -> Tensors { return {dropout(in[0], 0.1)}; }),
      {"cast", "elements", {1 << 20}, cast_op},
  };
}

std::vector<OpBench> model_benches() {
  return {
      {"conv2d", "batch,channels,size,out,kernel,stride", {8, 3, 224, 768, 16, 16}, conv2d_op},
      {"matmul", "m,n,k", {1024, 1024, 1024}, matmul_op},
      {"cross_entropy", "rows,vocab", {2048, 8192}, cross_entropy_op},
      {"linear_cross_entropy", "rows,dim,vocab", {2048, 256, 8192}, linear_cross_entropy_op},
      {"ctc_loss", "time,batch,classes", {150, 32, 64}, ctc_loss_op},
      {"embedding", "tokens,vocab,dim", {2048, 8192, 256}, embedding_op},
      {"rope", "batch,time,heads,head_dim", {8, 256, 8, 64}, rope_op},
  };
}

std::vector<OpBench> optimizer_benches() {
  return {
      optimizer_bench<nn::AdamW>("adamw", 2, 12, nn::AdamWOptions{.lr = 1e-4, .weight_decay = 0.1}),
      optimizer_bench<nn::Lion>("lion", 1, 8, nn::LionOptions{.lr = 1e-4, .weight_decay = 0.1}),
      optimizer_bench<nn::Sgd>("sgd", 1, 4, nn::SgdOptions{.lr = 1e-4, .momentum = 0.9}),
      {"global_norm", "tensors,elements", {16, 1 << 20}, {}, global_norm_op},
  };
}

}  // namespace

const std::vector<OpBench>& op_benches() {
  static const std::vector<OpBench> all = [] {
    std::vector<OpBench> benches;
    for (std::vector<OpBench> some : {attention_benches(), model_benches(), norm_benches(),
                                      pointwise_benches(), optimizer_benches()})
      std::ranges::move(some, std::back_inserter(benches));
    return benches;
  }();
  return all;
}

}  // namespace plinth::apps
