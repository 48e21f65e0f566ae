#include "models/language_model.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/checkpoint.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "nn/flops.h"

namespace plinth {

Tensor LanguageModel::embed(const Tensor& ids, int64_t before) {
  check_ids(ids, before);
  return embed_ids(ids, before);
}

nn::Residual LanguageModel::run_block(int64_t i, const nn::Residual& x, nn::KVCache* cache,
                                      Tensors* loads) {
  check(i >= 0 && i < info().layers, ErrorKind::Argument, info().type, "there is no block ", i,
        ", it has ", info().layers);
  const bool has_load = loads && info().experts > 0;
  if (!checkpointing_) {
    Tensor load;
    const nn::Residual y = forward_block(i, x, cache, has_load ? &load : nullptr);
    if (has_load) loads->push_back(load);
    return y;
  }
  // Called again in backward. What is kept between blocks is then one tensor, not two.
  const auto run = [this, i, cache, has_load](const Tensors& in) -> Tensors {
    Tensor load;
    const Tensor y = forward_block(i, in[0], cache, has_load ? &load : nullptr).sum();
    return has_load ? Tensors{y, load} : Tensors{y};
  };
  const Tensors out = checkpoint_many(run, {x.sum()});
  if (has_load) loads->push_back(out[1]);
  return out[0];
}

Tensor LanguageModel::run_blocks(const Tensor& ids, KVCaches* caches, Tensors* loads) {
  check(!caches || std::ssize(*caches) == info().layers, ErrorKind::Argument, info().type,
        "caches are for ", caches ? caches->size() : 0, " layers, takes one for each of its ",
        info().layers, ", as make_caches() gives them");
  nn::Residual x = embed(ids, caches ? caches->front().length() : 0);
  for (int64_t i = 0; i < info().layers; ++i)
    x = run_block(i, x, caches ? &(*caches)[i] : nullptr, loads);
  return finish(x.sum());
}

Tensor LanguageModel::hidden(const Tensor& ids, KVCaches* caches) {
  return run_blocks(ids, caches, nullptr);
}

// As many columns are added as keep rows aligned for vectors and tensor cores.
LanguageModel::HeadOperands LanguageModel::head_operands(const Tensor& x) const {
  const Tensor weight = head_weight(), bias = head_bias();
  if (!bias.defined()) return {x, weight};
  constexpr int64_t kColumns = 8;
  Shape of_ones = x.shape(), of_zeros = x.shape();
  of_ones[x.dim() - 1] = 1;
  of_zeros[x.dim() - 1] = kColumns - 1;
  return {
      cat({x, ones(of_ones, x.options()), zeros(of_zeros, x.options())}, -1),
      cat({weight, bias.unsqueeze(1), zeros({weight.size(0), kColumns - 1}, weight.options())}, 1)};
}

Tensor LanguageModel::head(const Tensor& x) const {
  if (!share_ || !share_->logits) return linear(x, head_weight(), head_bias());
  const HeadOperands operands = head_operands(x);
  return share_->logits(operands.x, operands.weight);
}

Tensor LanguageModel::forward(const Tensor& ids, KVCaches* caches) {
  check(!share_ || share_->part.ranks == 1, ErrorKind::Argument, info().type,
        "has the tokens of a context-parallel rank: loss() takes whole sequences, forward() none");
  return head(hidden(ids, caches));
}

// Whole sequences end in as many tokens as it takes to cut them evenly: where the model is causal,
// what stands behind a token does not reach it.
Tensor LanguageModel::own_tokens(const Tensor& x, int64_t filler) const {
  const nn::SequencePart& part = share_->part;
  const int64_t missing = (part.multiple() - x.size(1) % part.multiple()) % part.multiple();
  check(missing == 0 || info().causal, ErrorKind::Shape, info().type, "ids have shape ", x.shape(),
        ", expected a multiple of ", part.multiple(),
        " tokens, which ranks share and all of which see each other");
  const nn::SequencePart tokens{.ranks = part.ranks, .rank = part.rank};
  if (missing == 0) return tokens.take(x);
  return tokens.take(cat({x, full({x.size(0), missing}, double(filler), x.options())}, 1));
}

Tensor LanguageModel::own_ids(const Tensor& ids) const {
  return share_ ? own_tokens(ids, 0) : ids;
}

Tensor LanguageModel::loss_of_hidden(const Tensor& hidden, const Tensor& targets) const {
  const auto [x, weight] = head_operands(hidden);
  if (!share_) return linear_cross_entropy(x, weight, targets);
  constexpr int64_t kIgnored = -100;
  const Tensor own = own_tokens(targets, kIgnored);
  const Tensor sum =
      share_->loss ? share_->loss(x, weight, own)
                   : linear_cross_entropy(x, weight, own,
                                          {.ignore_index = kIgnored, .reduction = Reduction::Sum});
  const Tensor counted = plinth::sum(ne(targets, double(kIgnored))).to(sum.dtype());
  return nn::mapped(share_->total, sum / maximum(counted, ones_like(counted)));
}

Tensor LanguageModel::balance_loss(const Tensors& loads) const {
  const auto loss = [&] {
    if (!share_ || !share_->load) return nn::load_balancing_loss(loads);
    return nn::load_balancing_loss({share_->load(mean(stack(loads), {0}))});
  };
  return loss() * info().balance_coefficient;
}

Tensor LanguageModel::loss(const Tensor& ids, const Tensor& targets) {
  const bool balances = is_training() && info().balance_coefficient > 0;
  Tensors loads;
  const Tensor x = run_blocks(own_ids(ids), nullptr, balances ? &loads : nullptr);
  const Tensor loss = loss_of_hidden(x, targets);
  return balances ? loss + balance_loss(loads) : loss;
}

std::vector<nn::TokenRun> LanguageModel::runs(int64_t tokens) const {
  return share_ ? share_->part.runs(tokens) : std::vector<nn::TokenRun>{{0, tokens}};
}

KVCaches LanguageModel::make_caches(int64_t batch, int64_t length) const {
  check(!share_, ErrorKind::Argument, info().type, "is shared by ranks, and has no caches then");
  check(info().causal, ErrorKind::Argument, info().type,
        "has no caches: it fills in masked tokens, and continues no text");
  check(length <= info().context, ErrorKind::Argument, info().type, "a cache of ", length,
        " positions exceeds the context of ", info().context);
  KVCaches caches;
  const TensorOptions options = head_weight().options();
  for (int64_t layer = 0; layer < info().layers; ++layer)
    caches.emplace_back(batch, info().kv_heads, length, info().head_dim, options);
  return caches;
}

double LanguageModel::training_flops_per_token(int64_t time) const {
  const LanguageModelInfo& size = info();
  const nn::TransformerShape shape{
      .layers = size.layers,
      .dim = size.dim,
      .heads = size.heads,
      .kv_heads = size.kv_heads,
      .head_dim = size.head_dim,
      .ffn_dim = size.ffn_dim * std::max<int64_t>(1, size.experts_per_token),
      .gated = size.gated,
      .vocab = size.vocab_size};
  return nn::training_flops_per_token(shape, time, /*skip_masked=*/size.causal);
}

void LanguageModel::check_ids(const Tensor& ids, int64_t cached) const {
  check(ids.dim() == 2, ErrorKind::Shape, info().type, "ids have shape ", ids.shape(),
        ", expected [batch, time]");
  const nn::SequencePart part = share_ ? share_->part : nn::SequencePart{};
  check(ids.size(1) % part.parts == 0, ErrorKind::Shape, info().type, "ids have shape ",
        ids.shape(), ", expected a multiple of ", part.parts, " tokens, of which ranks have parts");
  check(cached + ids.size(1) * part.ranks <= info().context, ErrorKind::Shape, info().type,
        "ids have shape ", ids.shape(),
        cached ? detail::concat(" after ", cached, " cached positions") : "", ", the context is ",
        info().context);
}

}  // namespace plinth
