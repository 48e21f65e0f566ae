#include "distributed/plan/layer.h"

#include <algorithm>
#include <utility>

#include "distributed/plan/collectives.h"

namespace plinth::plan {
namespace {

// Bytes that kernels move for each element of their input, 2 an element, in forward and backward.
struct Traffic {
  double forward, backward;
};
constexpr Traffic kNorm = {4, 6};              // x -> y; dy, x -> dx
constexpr Traffic kResidual = {6, 6};          // two read, one written
constexpr Traffic kDropoutResidual = {7, 11};  // and a mask of a byte; masked, then added
constexpr Traffic kGelu = {4, 6};
constexpr Traffic kSwiGlu = {6, 10};  // of two inputs each
constexpr Traffic kRope = {4, 4};
constexpr Traffic kRoute = {8, 8};    // of tokens: copied to the experts that they pass, and added
constexpr Traffic kSoftmax = {4, 6};  // of attention's scores
constexpr Traffic kScoreDropout = {5, 5};
// Of the logits: cast to float32, two passes and the softmax; its gradient, and cast back.
constexpr Traffic kCrossEntropy = {18, 10};
// Quantising an operand to float8: read for its largest, read again, written.
constexpr double kQuantise = 5;

// A layer's matrix products on this rank: `count` times [tokens, in] x [in, out].
struct Linear {
  double in, out;
  double tokens, count = 1;
};

class Layer {
 public:
  Layer(const Kernels& kernels, const Workload& work, const Strategy& strategy)
      : kernels_(kernels),
        work_(work),
        strategy_(strategy),
        tokens_(static_cast<double>(strategy.micro_batch * work.sequence) / strategy.context),
        passing_(tokens_ * static_cast<double>(work.model.active_experts)),
        hidden_(static_cast<double>(work.model.hidden)) {}

  PieceCost cost() const;
  PieceCost head() const;
  PieceCost embedding() const;

 private:
  double split(int64_t size) const {
    return std::max(1.0, static_cast<double>(size) / strategy_.tensor);
  }
  const Gpu& gpu() const { return kernels_.gpu(); }
  Group tensor_group() const { return {strategy_.tensor, 1}; }
  Group context_group() const { return {strategy_.context, strategy_.tensor}; }

  // Bytes of the residual stream's tokens, and the part of them that this rank's norms see.
  double stream_bytes() const { return 2 * tokens_ * hidden_; }
  double norm_share() const { return strategy_.sequence_parallel ? strategy_.tensor : 1; }
  double norm_elements() const { return tokens_ * hidden_ / norm_share(); }

  double quantise(const Linear& linear) const;
  double forward(const Linear& linear) const;
  double input_gradient(const Linear& linear) const;
  double weight_gradient(const Linear& linear) const;
  // The product of each of this rank's experts, with its even part of the tokens.
  Linear by_expert(double in, double out) const;
  Linear first(bool mlp) const;
  Linear second(bool mlp) const;

  // Of elementwise kernels outside attention.
  Traffic elementwise() const;
  // Of the pairs of tokens, those that no mask hides.
  double kept_share() const { return work_.model.causal ? 0.5 : 1; }
  double attention_forward(bool again) const;
  double attention_backward() const;
  double context_forward() const;
  double context_backward() const;
  double routing() const;
  // One of the layer's two blocks: its products and the collectives around them. Gives the seconds
  // of communication that forward has.
  double add_block(PieceCost& cost, bool mlp) const;
  double exposed(double seconds, double beside) const;

  const Kernels& kernels_;
  const Workload& work_;
  const Strategy& strategy_;
  double tokens_;   // of a micro-batch, on this rank
  double passing_;  // those that pass its experts, each as often as it has active experts
  double hidden_;
};

double Layer::quantise(const Linear& linear) const {
  if (work_.precision != Precision::Float8) return 0;
  return linear.count * kernels_.memory(kQuantise * (linear.tokens + linear.out) * linear.in);
}

double Layer::forward(const Linear& linear) const {
  return quantise(linear) +
         linear.count * kernels_.product(linear.tokens, linear.out, linear.in, work_.precision);
}

double Layer::input_gradient(const Linear& linear) const {
  Linear transposed = linear;
  std::swap(transposed.in, transposed.out);
  return forward(transposed);
}

double Layer::weight_gradient(const Linear& linear) const {
  // Added to what earlier micro-batches left.
  const double element = 2 * work_.software.gradient_bytes;
  return linear.count *
         kernels_.product(linear.out, linear.in, linear.tokens, work_.precision, element);
}

Linear Layer::by_expert(double in, double out) const {
  const double experts = static_cast<double>(work_.model.experts) / strategy_.expert;
  return {in, out, passing_ / experts, experts};
}

// The product whose columns are split, and the one whose rows are.
Linear Layer::first(bool mlp) const {
  const Transformer& model = work_.model;
  if (mlp) return by_expert(hidden_, (model.gated ? 2 : 1) * split(model.ffn));
  const double out =
      (split(model.heads) + 2 * split(model.kv_heads)) * static_cast<double>(model.head_dim);
  return {hidden_, out, tokens_};
}

Linear Layer::second(bool mlp) const {
  const Transformer& model = work_.model;
  if (mlp) return by_expert(split(model.ffn), hidden_);
  return {split(model.heads) * static_cast<double>(model.head_dim), hidden_, tokens_};
}

Traffic Layer::elementwise() const {
  const Transformer& model = work_.model;
  const Traffic residual = model.dropout ? kDropoutResidual : kResidual;
  const Traffic activation = model.gated ? kSwiGlu : kGelu;
  const double ffn = passing_ * split(model.ffn);
  const double routed = model.experts > 1 ? passing_ * hidden_ / norm_share() : 0;
  const double turned = model.gated ? tokens_ * (split(model.heads) + split(model.kv_heads)) *
                                          static_cast<double>(model.head_dim)
                                    : 0;
  const auto sum = [&](double Traffic::*pass) {
    return kernels_.memory(2 * (kNorm.*pass + residual.*pass) * norm_elements() +
                           activation.*pass * ffn + kRope.*pass * turned + kRoute.*pass * routed);
  };
  return {sum(&Traffic::forward), sum(&Traffic::backward)};
}

// Scores and their product with the values; `again`: without the latter, whose result is kept.
double Layer::attention_forward(bool again) const {
  const Transformer& model = work_.model;
  const double heads = static_cast<double>(strategy_.micro_batch) * split(model.heads);
  const auto queries = static_cast<double>(work_.sequence) / strategy_.context;
  const auto keys = static_cast<double>(work_.sequence), dim = static_cast<double>(model.head_dim);
  if (work_.software.attention != Attention::Unfused) {
    const double flops = kept_share() * 4 * heads * queries * keys * dim;
    return kernels_.fused_attention_forward(flops, work_.software.attention);
  }
  const double traffic = kSoftmax.forward + (model.dropout ? kScoreDropout.forward : 0);
  return kernels_.batched_product(heads, queries, keys, dim) +
         kernels_.memory(traffic * heads * queries * keys) +
         (again ? 0 : kernels_.batched_product(heads, queries, dim, keys));
}

double Layer::attention_backward() const {
  const Transformer& model = work_.model;
  const double heads = static_cast<double>(strategy_.micro_batch) * split(model.heads);
  const auto queries = static_cast<double>(work_.sequence) / strategy_.context;
  const auto keys = static_cast<double>(work_.sequence), dim = static_cast<double>(model.head_dim);
  if (work_.software.attention != Attention::Unfused) {
    // Five products for forward's two.
    const double flops = kept_share() * 10 * heads * queries * keys * dim;
    return kernels_.fused_attention_backward(flops, work_.software.attention);
  }
  const double traffic = kSoftmax.backward + (model.dropout ? kScoreDropout.backward : 0);
  return 2 * (kernels_.batched_product(heads, queries, keys, dim) +
              kernels_.batched_product(heads, queries, dim, keys)) +
         kernels_.memory(traffic * heads * queries * keys);
}

// Keys and values of the whole sequence, gathered (Llama 3, arXiv 2407.21783, section 3.3.2).
double Layer::context_forward() const {
  const Transformer& model = work_.model;
  const double bytes = 2 * 2 * tokens_ * strategy_.context * split(model.kv_heads) *
                       static_cast<double>(model.head_dim);
  return all_gather_seconds(gpu(), context_group(), bytes);
}

// Gathered again, and their gradients summed.
double Layer::context_backward() const {
  return 2 * context_forward();
}

// Tokens to their experts and back (Lepikhin et al. 2020, arXiv 2006.16668, section 3.2).
double Layer::routing() const {
  const Group group = {strategy_.expert, int64_t{strategy_.tensor} * strategy_.context};
  return 2 * all_to_all_seconds(gpu(), group, 2 * passing_ * hidden_ / norm_share());
}

// What is left of a collective that is cut into slices beside computation.
double Layer::exposed(double seconds, double beside) const {
  const double first_slice = seconds / strategy_.tensor;
  return first_slice + std::max(0.0, seconds - first_slice - beside);
}

double Layer::add_block(PieceCost& cost, bool mlp) const {
  const Linear in = first(mlp), out = second(mlp);
  const double forward_in = forward(in), forward_out = forward(out);
  const double input = input_gradient(in), weight_in = weight_gradient(in);
  cost.forward += forward_in + forward_out;
  cost.backward_input += input + input_gradient(out);
  cost.backward_weight += weight_in + weight_gradient(out);
  if (strategy_.tensor == 1) return 0;

  const double gather = all_gather_seconds(gpu(), tensor_group(), stream_bytes());
  const Software& software = work_.software;
  double on_forward = 2 * gather, on_backward = 0;
  if (software.async_tensor) {
    on_forward = exposed(gather, forward_in) + exposed(gather, forward_out);
    on_backward = exposed(gather, input_gradient(out)) + exposed(gather, input);
  } else if (!software.overlap_tensor) {
    // Sequence parallelism gathers the product's input once more.
    on_backward = (strategy_.sequence_parallel ? 3 : 2) * gather;
  } else if (strategy_.sequence_parallel) {
    // The gradient of the block's output is gathered first; the product's input is gathered beside
    // `input`, and `input` scattered beside `weight_in`.
    on_backward = gather + std::max(0.0, gather - input) + std::max(0.0, gather - weight_in);
  } else {
    on_backward = std::max(0.0, 2 * gather - weight_in);
  }
  cost.forward += on_forward;
  cost.backward_input += on_backward;
  cost.communication += on_forward + on_backward;
  return on_forward;
}

PieceCost Layer::cost() const {
  PieceCost cost;
  const double sent = context_forward() + routing();
  const double returned = context_backward() + routing();
  const double on_forward = add_block(cost, false) + add_block(cost, true) + sent;
  // The forward pass's products and collectives alone, for what Alternate computes again.
  const double products = cost.forward;
  const Traffic small = elementwise();
  cost.forward += small.forward + attention_forward(false) + sent;
  cost.backward_input += small.backward + attention_backward() + returned;
  cost.communication += sent + returned;
  switch (strategy_.recompute) {
    case Recompute::None: break;
    case Recompute::Selective:
      // Fused attention computes its scores again in any case.
      if (work_.software.attention == Attention::Unfused)
        cost.backward_input += attention_forward(true);
      break;
    case Recompute::Alternate: cost.backward_input += small.forward + products / 2; break;
    case Recompute::Full:
      cost.backward_input += cost.forward;
      cost.communication += on_forward;
      break;
  }
  return cost;
}

PieceCost Layer::head() const {
  const Linear linear = {hidden_, split(work_.model.vocab), tokens_};
  const double logits = tokens_ * linear.out;
  const Precision kept = Precision::BFloat16;
  PieceCost cost;
  cost.forward = kernels_.memory(kNorm.forward * norm_elements() + kCrossEntropy.forward * logits) +
                 kernels_.product(tokens_, linear.out, hidden_, kept);
  cost.backward_input =
      kernels_.memory(kNorm.backward * norm_elements() + kCrossEntropy.backward * logits) +
      kernels_.product(tokens_, hidden_, linear.out, kept);
  cost.backward_weight =
      kernels_.product(linear.out, hidden_, tokens_, kept, 2 * work_.software.gradient_bytes);
  // The input is gathered and its gradient scattered, or summed.
  const double gather = all_gather_seconds(gpu(), tensor_group(), stream_bytes());
  cost.communication = 2 * gather;
  cost.forward += strategy_.sequence_parallel ? gather : 0;
  cost.backward_input += strategy_.sequence_parallel ? gather : 2 * gather;
  return cost;
}

PieceCost Layer::embedding() const {
  // Rows are copied; in backward added.
  const double gather = all_gather_seconds(gpu(), tensor_group(), stream_bytes());
  PieceCost cost;
  cost.communication = (strategy_.sequence_parallel ? 1 : 2) * gather;
  cost.forward = kernels_.memory(kNorm.forward * tokens_ * hidden_) + cost.communication;
  cost.backward_weight = kernels_.memory(kNorm.backward * tokens_ * hidden_);
  return cost;
}

}  // namespace

void PieceCost::add(const PieceCost& other, double times) {
  forward += times * other.forward;
  backward_input += times * other.backward_input;
  backward_weight += times * other.backward_weight;
  communication += times * other.communication;
}

PieceCost layer_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy) {
  return Layer(kernels, work, strategy).cost();
}

PieceCost embedding_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy) {
  return Layer(kernels, work, strategy).embedding();
}

PieceCost head_cost(const Kernels& kernels, const Workload& work, const Strategy& strategy) {
  return Layer(kernels, work, strategy).head();
}

double recomputed_flops_per_token(const Workload& work, const Strategy& strategy) {
  Transformer layers = work.model;
  layers.vocab = 0;
  const double forward = layers.flops_per_token(work.sequence) / 3;
  const double products = layers.flops_per_token(0) / 3;
  switch (strategy.recompute) {
    case Recompute::None: return 0;
    case Recompute::Selective:
      return work.software.attention == Attention::Unfused ? (forward - products) / 2 : 0;
    case Recompute::Alternate: return products / 2;
    case Recompute::Full: return forward;
  }
  return 0;
}

}  // namespace plinth::plan
