#include "nn/layers/mixture_of_experts.h"

#include <numeric>
#include <string>

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "core/ops/views.h"

namespace plinth::nn {
namespace {

// The choices of tokens, number token * k + i being a token's i-th, in the order of their experts,
// and of an expert in the order of tokens.
struct Order {
  std::vector<int64_t> counts;  // of each expert
  std::vector<int64_t> tokens;  // whose choice stands at a place
  std::vector<int64_t> places;  // of each choice
};

Order sort_by_expert(const Tensor& chosen, int64_t experts) {
  const Tensor indices = chosen.detach().to(Device{}).contiguous();
  const int64_t* const expert = indices.data<int64_t>();
  const int64_t count = indices.numel(), each = indices.size(-1);
  Order order;
  order.counts.resize(experts);
  order.tokens.resize(count);
  order.places.resize(count);
  // A dry run has no choices: experts take turns.
  const auto expert_of = [&](int64_t i) { return is_dry_run() ? i % experts : expert[i]; };
  for (int64_t i = 0; i < count; ++i) ++order.counts[expert_of(i)];
  std::vector<int64_t> next(experts);
  std::exclusive_scan(order.counts.begin(), order.counts.end(), next.begin(), int64_t{0});
  for (int64_t i = 0; i < count; ++i) {
    order.places[i] = next[expert_of(i)]++;
    order.tokens[order.places[i]] = i / each;
  }
  return order;
}

Tensor index_on(const std::vector<int64_t>& values, Device device) {
  return from_values(values, {static_cast<int64_t>(values.size())}).to(device);
}

Tensor load_of(const Tensor& probabilities, const Order& order) {
  const bool is_empty = probabilities.size(0) == 0;
  const auto tokens = is_empty ? 1 : static_cast<double>(probabilities.size(0));
  std::vector<double> shares;
  for (const int64_t count : order.counts) shares.push_back(static_cast<double>(count) / tokens);
  const Tensor chosen = from_values(shares, {static_cast<int64_t>(shares.size())});
  // No tokens are no load, where their mean would be NaN.
  return stack({is_empty ? sum(probabilities, {0}) : mean(probabilities, {0}),
                chosen.to(probabilities.dtype()).to(probabilities.device())});
}

}  // namespace

MixtureOfExperts::MixtureOfExperts(int64_t dim, int64_t hidden,
                                   const MixtureOfExpertsOptions& options)
    : chosen_(options.experts_per_token) {
  check(chosen_ >= 1 && chosen_ <= options.experts, ErrorKind::Argument, "MixtureOfExperts",
        "experts_per_token is ", chosen_, ", takes 1 to the ", options.experts, " experts");
  router_ = make<Linear>(
      "router", dim, options.experts,
      LinearOptions{.bias = false, .weight_init = options.router_init, .options = options.options});
  for (int64_t i = 0; i < options.experts; ++i)
    experts_.emplace_back(make<GatedMLP>("expert" + std::to_string(i), dim, hidden,
                                         GatedMLPOptions{.fused = true,
                                                         .up_init = options.up_init,
                                                         .down_init = options.down_init,
                                                         .options = options.options}));
}

Tensor MixtureOfExperts::forward(const Tensor& x, Tensor* load) {
  const Tensor all = mapped(share_.in, x);
  const Tensor rows = all.reshape({-1, all.size(-1)});
  const Tensor logits = router_(rows);
  const bool is_double = logits.dtype() == DType::Float64;
  const Tensor probabilities = softmax(is_double ? logits : logits.to(DType::Float32), -1);
  const TopK chosen = topk(probabilities, chosen_);
  const Tensor weights = chosen.values / sum(chosen.values, {-1}, true);
  const Order order = sort_by_expert(chosen.indices, expert_count());
  if (load) *load = load_of(probabilities, order);

  const Tensor gathered = index_select(rows, 0, index_on(order.tokens, x.device()));
  const Tensor outputs = run_ ? run_(gathered, order.counts) : run_experts(gathered, order.counts);
  const Tensor by_token = index_select(outputs, 0, index_on(order.places, x.device()))
                              .reshape({rows.size(0), chosen_, x.size(-1)});
  const Tensor y = sum(by_token * weights.unsqueeze(-1), {1});
  return mapped(share_.out, y.to(x.dtype()).reshape(all.shape()));
}

Tensor MixtureOfExperts::run_experts(const Tensor& rows, const std::vector<int64_t>& counts,
                                     int64_t first) const {
  const auto count = static_cast<int64_t>(counts.size());
  check(first >= 0 && first + count <= expert_count(), ErrorKind::Argument, "MixtureOfExperts",
        "got counts of experts ", first, " to ", first + count, ", has ", expert_count());
  const Tensors parts = rows.split(counts, 0);
  Tensors outputs;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (counts[i] > 0) outputs.push_back(experts_.at(first + i)(parts[i]));
  }
  return outputs.empty() ? rows : cat(outputs, 0);
}

Tensor load_balancing_loss(const Tensors& loads) {
  check(!loads.empty(), ErrorKind::Argument, __func__, "got no loads, takes those of the layers");
  const Tensor all = mean(stack(loads), {0});
  return sum(all[0] * all[1]) * static_cast<double>(all.size(1));
}

}  // namespace plinth::nn
