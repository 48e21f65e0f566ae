#pragma once

#include <optional>

#include "core/ops/float8.h"
#include "nn/layers/basic.h"
#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

struct LinearOptions {
  bool bias = true;
  Initializer weight_init = {};  // left out: uniform within 1 / sqrt(in)
  Initializer bias_init = {};    // left out: uniform within 1 / sqrt(in)
  TensorOptions options = {};
};

enum class Float8Recipe {
  Current,  // a tensor's scale comes from its own largest value
  Delayed,  // from the largest value of the last passes: one reading less, and a state
};

struct Float8Options {
  Float8Recipe recipe = Float8Recipe::Current;
  int64_t history = 16;  // passes that delayed scaling looks back at, at most 1024
  double margin = 1;     // room above the largest value, a factor
};

// Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685).
struct LoraOptions {
  int64_t rank = 8;
  double alpha = 16;   // what is learned counts alpha / rank
  double dropout = 0;  // of the input to what is learned
};

// What adapts a layer.
struct LinearLora {
  NewParameter a, b;
  double scale = 1;
  std::shared_ptr<Dropout> dropout;
};

// What happens to tensors on their way through a layer that ranks share. Each may be empty.
struct LinearShare {
  TensorMap in = {};                 // x before the product
  TensorMap out = {};                // the product, before the bias is added
  TensorMap weight = {}, bias = {};  // parameters as they are used
};

// y = x weight^T + bias, for x [..., in], weight [out, in], bias [out].
class Linear final : public Layer {
 public:
  Linear(int64_t in, int64_t out, const LinearOptions& options = {});
  // Shares the weight [out, in] of another module.
  explicit Linear(const Tensor& weight, const Tensor& bias = {});

  Tensor forward(const Tensor& x) override;
  // x weight^T, for a fused op that adds the bias.
  Tensor product(const Tensor& x) const;

  // Whether float8 takes its sizes: multiples of 16.
  bool fits_float8() const;
  // Computes in float8 from now on (core/ops/float8.h). Delayed scaling adds the buffers x_history,
  // weight_history and gradient_history; they are written by passes that record a graph, in the
  // order of these passes. To be called once, after to(DType). Throws Error(Shape) unless
  // fits_float8(), Error(Argument) for a history out of range.
  void use_float8(const Float8Options& options);

  bool is_float8() const { return float8_.has_value(); }

  // From now on weight and bias stay as they are, and y gets (alpha / rank) lora_b lora_a
  // dropout(x), of new parameters lora_a [rank, in], uniform within 1 / sqrt(in), and lora_b [out,
  // rank], zeros. To be called once. Throws Error(Argument) for a rank below 1, an alpha that is
  // not finite, a dropout outside [0, 1], for a layer that computes in float8 or that ranks share;
  // the layer is then as it was.
  void add_lora(const LoraOptions& options) { take(new_lora(options)); }
  // The same in two parts, so that several layers can be adapted together or not at all: all that
  // may fail, and then what changes the layer.
  LinearLora new_lora(const LoraOptions& options) const;
  void take(LinearLora lora);
  bool has_lora() const { return lora_a_.defined(); }
  // weight + (alpha / rank) lora_b lora_a.
  Tensor merged_weight() const;
  // Makes that the weight, and lora_b zeros: the outputs stay the same.
  void merge_lora();

  void share(LinearShare share) { share_.emplace(std::move(share)); }
  // Whether forward(x) is linear(x, weight, bias), so that a fused op may stand in for it.
  bool is_plain() const { return !float8_ && !share_ && !has_lora(); }

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined if there is none

 private:
  Tensor run(const Tensor& x, const Tensor& bias) const;
  Tensor run_base(const Tensor& x, const Tensor& bias) const;
  Tensor multiply(const Tensor& x, const Tensor& weight, const Tensor& bias) const;

  Tensor weight_, bias_;
  std::optional<Float8Scaling> float8_;
  std::optional<LinearShare> share_;
  Tensor lora_a_, lora_b_;
  double lora_scale_ = 0;
  Handle<Dropout> lora_dropout_;
};

}  // namespace plinth::nn
