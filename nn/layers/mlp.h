#pragma once

#include <optional>

#include "core/ops/activation.h"
#include "nn/layers/basic.h"
#include "nn/layers/linear.h"
#include "nn/module.h"

namespace plinth::nn {

struct MLPOptions {
  GeluForm gelu = GeluForm::Exact;
  TensorMap activation = {};  // in place of GELU, if given
  bool bias = true;
  double dropout = 0;         // of the result, in training
  double hidden_dropout = 0;  // of what is between, in training
  Initializer up_init = {};   // of weights; left out: Linear's
  Initializer down_init = {};
  Initializer bias_init = {};
  TensorOptions options = {};
};

// down(gelu(up(x))), a transformer's feed-forward layer (Vaswani et al. 2017, arXiv 1706.03762,
// with GELU or another activation): x [..., dim] to the same, `hidden` wide between. Bias and GELU
// are one pass, and on a GPU parts of the products (core/ops/mlp.h).
class MLP final : public Layer {
 public:
  MLP(int64_t dim, int64_t hidden, const MLPOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Tensor activated(const Tensor& x);

  GeluForm gelu_;
  TensorMap activation_;
  Handle<Linear> up_, down_;
  Handle<Dropout> dropout_, hidden_dropout_;  // the latter null where nothing is dropped
};

struct GatedMLPOptions {
  bool fused = false;  // one matrix "gate_up" [2 hidden, dim], gate first, in place of two
  // Of the gate, in place of SiLU: GEGLU of the same paper.
  std::optional<GeluForm> gelu = {};
  bool bias = false;
  double dropout = 0;         // of the result, in training
  double hidden_dropout = 0;  // of what is between, in training
  Initializer up_init = {};   // of gate and up; left out: Linear's
  Initializer down_init = {};
  TensorOptions options = {};
};

// down(silu(gate(x)) * up(x)), SwiGLU (Shazeer 2020, arXiv 2002.05202): Llama's feed-forward layer,
// and with GELU that of T5 since version 1.1.
class GatedMLP final : public Layer {
 public:
  GatedMLP(int64_t dim, int64_t hidden, const GatedMLPOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  std::optional<GeluForm> gelu_;
  Handle<Linear> gate_up_, gate_, up_, down_;
  Handle<Dropout> dropout_, hidden_dropout_;  // the latter null where nothing is dropped
};

}  // namespace plinth::nn
