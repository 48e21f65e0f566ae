#include "nn/layers/mlp.h"

#include "core/ops/elementwise.h"
#include "core/ops/mlp.h"
#include "nn/block_observer.h"

namespace plinth::nn {
namespace {

// Whether somebody wants to see each layer run.
bool is_observed() {
  const ForwardObserver* observer = ForwardObserver::active();
  return observer && !dynamic_cast<const BlockObserver*>(observer);
}

// x itself where there is no such layer.
Tensor dropped(const Handle<Dropout>& dropout, const Tensor& x) {
  return dropout ? dropout(x) : x;
}

}  // namespace

MLP::MLP(int64_t dim, int64_t hidden, const MLPOptions& options)
    : gelu_(options.gelu), activation_(options.activation) {
  const auto linear_options = [&](const Initializer& weight_init) {
    return LinearOptions{.bias = options.bias,
                         .weight_init = weight_init,
                         .bias_init = options.bias_init,
                         .options = options.options};
  };
  up_ = make<Linear>("up", dim, hidden, linear_options(options.up_init));
  down_ = make<Linear>("down", hidden, dim, linear_options(options.down_init));
  dropout_ = make<Dropout>("dropout", options.dropout);
  if (options.hidden_dropout != 0)
    hidden_dropout_ = make<Dropout>("hidden_dropout", options.hidden_dropout);
}

Tensor MLP::forward(const Tensor& x) {
  const bool is_one_op = !activation_ && !hidden_dropout_ && up_->bias().defined() &&
                         up_->is_plain() && down_->is_plain() && x.device().is_cuda() &&
                         !is_observed();
  if (is_one_op)
    return dropout_(gelu_mlp(x, up_->weight(), up_->bias(), down_->weight(), down_->bias(), gelu_));
  return dropout_(down_(dropped(hidden_dropout_, activated(x))));
}

// What the second product takes.
Tensor MLP::activated(const Tensor& x) {
  if (activation_) return activation_(up_(x));
  const Tensor up = up_->product(x);
  return up_->bias().defined() ? bias_gelu(up, up_->bias().to(up.dtype()), gelu_) : gelu(up, gelu_);
}

GatedMLP::GatedMLP(int64_t dim, int64_t hidden, const GatedMLPOptions& options)
    : gelu_(options.gelu) {
  const LinearOptions up{
      .bias = options.bias, .weight_init = options.up_init, .options = options.options};
  const LinearOptions down{
      .bias = options.bias, .weight_init = options.down_init, .options = options.options};
  if (options.fused) {
    gate_up_ = make<Linear>("gate_up", dim, 2 * hidden, up);
  } else {
    gate_ = make<Linear>("gate", dim, hidden, up);
    up_ = make<Linear>("up", dim, hidden, up);
  }
  down_ = make<Linear>("down", hidden, dim, down);
  dropout_ = make<Dropout>("dropout", options.dropout);
  if (options.hidden_dropout != 0)
    hidden_dropout_ = make<Dropout>("hidden_dropout", options.hidden_dropout);
}

Tensor GatedMLP::forward(const Tensor& x) {
  const auto result = [&](const Tensor& gate, const Tensor& up) {
    const Tensor product = gelu_ ? gelu(gate, *gelu_) * up : swiglu(gate, up);
    return dropout_(down_(dropped(hidden_dropout_, product)));
  };
  if (!gate_up_) return result(gate_(x), up_(x));
  const Tensor both = gate_up_(x);
  const int64_t hidden = both.size(-1) / 2;
  const Tensors halves = both.split({hidden, hidden}, -1);
  return result(halves[0], halves[1]);
}

}  // namespace plinth::nn
