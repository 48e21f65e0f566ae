#include "nn/layers/attention.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/ops/paged_attention.h"
#include "core/ops/views.h"

namespace plinth::nn {
namespace {

constexpr std::string_view kName = "MultiHeadAttention";

// The options with every size that was left out.
MultiHeadAttentionOptions completed(MultiHeadAttentionOptions options) {
  check(options.dim > 0 && options.heads > 0 && options.kv_heads >= 0, ErrorKind::Argument, kName,
        "got dim ", options.dim, ", heads ", options.heads, ", kv_heads ", options.kv_heads);
  if (options.kv_heads == 0) options.kv_heads = options.heads;
  check(options.heads % options.kv_heads == 0, ErrorKind::Argument, kName, "heads is ",
        options.heads, ", expected a multiple of kv_heads, ", options.kv_heads);
  check(options.head_dim > 0 || options.dim % options.heads == 0, ErrorKind::Argument, kName,
        "dim is ", options.dim, ", expected a multiple of heads, ", options.heads,
        ", where head_dim is left out");
  if (options.head_dim <= 0) options.head_dim = options.dim / options.heads;
  if (options.context_dim == 0) options.context_dim = options.dim;
  check(!options.fused_qkv || (options.k_bias && !options.q_init), ErrorKind::Argument, kName,
        "k_bias = false and q_init need fused_qkv = false");
  check(options.dropout >= 0 && options.dropout < 1, ErrorKind::Argument, kName, "dropout is ",
        options.dropout, ", expected at least 0 and below 1");
  return options;
}

// [batch, tokens, heads * head_dim] -> [batch, tokens, heads, head_dim], a view.
Tensor split_heads(const Tensor& x, int64_t head_dim) {
  // No -1, which is no size where there are no elements: an empty batch is one, too.
  return x.reshape({x.size(0), x.size(1), x.size(2) / head_dim, head_dim});
}

// What bends scores, in the dtype that attention takes beside operands of `dtype`.
Tensor wide(const Tensor& x, DType dtype) {
  return x.defined() ? x.to(dtype == DType::Float64 ? dtype : DType::Float32) : x;
}

}  // namespace

Tensor alibi_slopes(int64_t heads) {
  check(heads > 0, ErrorKind::Argument, "alibi_slopes", "heads is ", heads,
        ", expected at least 1");
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t h = 0; h < heads; ++h) {
    const double exponent = h < power ? 8.0 * double(h + 1) / double(power)
                                      : 4.0 * double(2 * (h - power) + 1) / double(power);
    slopes.push_back(static_cast<float>(std::exp2(-exponent)));
  }
  return from_values(slopes, {heads});
}

MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionOptions& options)
    : options_(completed(options)) {
  const int64_t q_dim = options_.heads * options_.head_dim;
  const int64_t kv_dim = options_.kv_heads * options_.head_dim;
  const LinearOptions in{.bias = options_.qkv_bias,
                         .weight_init = options_.qkv_init,
                         .bias_init = options_.bias_init,
                         .options = options_.options};
  if (options_.fused_qkv) {
    qkv_ = make<Linear>("qkv", options_.dim, q_dim + 2 * kv_dim, in);
  } else {
    LinearOptions q = in, k = in;
    if (options_.q_init) q.weight_init = options_.q_init;
    k.bias = in.bias && options_.k_bias;
    q_ = make<Linear>("q", options_.dim, q_dim, q);
    k_ = make<Linear>("k", options_.context_dim, kv_dim, k);
    v_ = make<Linear>("v", options_.context_dim, kv_dim, in);
  }
  const LinearOptions out{.bias = options_.out_bias,
                          .weight_init = options_.out_init,
                          .bias_init = options_.bias_init,
                          .options = options_.options};
  out_ = make<Linear>("out", q_dim, options_.dim, out);
  if (options_.sinks) {
    sinks_ = register_parameter("sinks", {options_.heads}, init::zeros(), options_.options);
  }
  if (options_.alibi) alibi_slopes_ = alibi_slopes(options_.heads).to(options_.options.device);
}

void MultiHeadAttention::share(AttentionShare share) {
  share_ = std::move(share);
  if (share_.heads == 0) return;
  check(share_.first_head >= 0 && share_.first_head + share_.heads <= options_.heads &&
            share_.kv_heads > 0 && share_.kv_heads <= options_.kv_heads &&
            share_.heads % share_.kv_heads == 0,
        ErrorKind::Argument, kName, "has ", options_.heads, " heads and ", options_.kv_heads,
        " kv_heads, of which a share cannot be ", share_.heads, " from ", share_.first_head,
        " on and ", share_.kv_heads);
  options_.heads = share_.heads;
  options_.kv_heads = share_.kv_heads;
  if (alibi_slopes_.defined())
    alibi_slopes_ = alibi_slopes_.narrow(0, share_.first_head, share_.heads);
}

KVCache MultiHeadAttention::make_cache(int64_t batch, int64_t capacity) const {
  return KVCache(batch, options_.kv_heads, capacity, options_.head_dim, out_->weight().options());
}

PagedKVCache MultiHeadAttention::make_paged_cache(PagedKVCacheOptions options) const {
  options.kv_heads = options_.kv_heads;
  options.head_dim = options_.head_dim;
  options.options = out_->weight().options();
  return PagedKVCache(options);
}

void MultiHeadAttention::check_queries(const Tensor& x, const AttentionInputs& inputs) const {
  check(inputs.queries > 0 && inputs.queries <= x.size(1), ErrorKind::Argument, kName,
        "queries is ", inputs.queries, ", takes 1 to the ", x.size(1), " tokens of x, or 0");
  check(!options_.causal && options_.window == 0 && !options_.alibi, ErrorKind::Argument, kName,
        "queries takes a layer without causal, window or alibi");
  check(!share_.attend && !inputs.cache && !inputs.paged_cache && !inputs.context.defined() &&
            !inputs.cu_seqlens.defined() && !inputs.bias.defined(),
        ErrorKind::Argument, kName,
        "queries goes with neither a cache, a context, bias, packed sequences nor shared tokens");
}

void MultiHeadAttention::check_inputs(const Tensor& x, const AttentionInputs& inputs) const {
  check(!share_.attend || (!inputs.cache && !inputs.paged_cache && !inputs.context.defined() &&
                           !inputs.cu_seqlens.defined() && !inputs.kv_lengths.defined() &&
                           !inputs.bias.defined()),
        ErrorKind::Argument, kName,
        "shared by tokens takes x alone: no cache, context, kv_lengths, bias or packed sequences");
  check(x.dim() == 3 && x.size(2) == options_.dim, ErrorKind::Shape, kName, "x has shape ",
        x.shape(), ", expected [batch, tokens, ", options_.dim, "]");
  if (inputs.queries != 0) check_queries(x, inputs);
  const bool rotates = options_.rope.cos.defined();
  if (inputs.context.defined()) {
    check(!options_.fused_qkv, ErrorKind::Argument, kName,
          "cross-attention needs fused_qkv = false");
    check(!rotates, ErrorKind::Argument, kName, "cross-attention takes no RoPE");
    check(!options_.alibi, ErrorKind::Argument, kName, "cross-attention takes no ALiBi");
    check(inputs.context.dim() == 3 && inputs.context.size(0) == x.size(0) &&
              inputs.context.size(2) == options_.context_dim,
          ErrorKind::Shape, kName, "context has shape ", inputs.context.shape(), ", expected [",
          x.size(0), ", keys, ", options_.context_dim, "]");
  }
  check(!inputs.cu_seqlens.defined() || !rotates || inputs.positions.defined(), ErrorKind::Argument,
        kName, "packed sequences with RoPE need positions");
  check(!inputs.cu_seqlens.defined() || (!inputs.cache && !inputs.context.defined()),
        ErrorKind::Argument, kName, "packed sequences go with neither a cache nor a context");
  check(!inputs.paged_cache ||
            (!inputs.cache && !inputs.context.defined() && !inputs.kv_lengths.defined() &&
             !inputs.cu_seqlens.defined() && !inputs.bias.defined()),
        ErrorKind::Argument, kName,
        "a paged cache goes with neither another cache, a context, kv_lengths, bias nor packed "
        "sequences");
  check(!inputs.paged_cache || options_.dropout == 0 || !is_training(), ErrorKind::Argument, kName,
        "a paged cache is not for training, and dropout is ", options_.dropout);
}

// The layers of a model share one table: the first of them moves it for all.
void MultiHeadAttention::moved_to(Device device) {
  for (Tensor half : {options_.rope.cos, options_.rope.sin}) {
    if (half.defined() && half.device() != device) half.set_data(half.to(device));
  }
  if (alibi_slopes_.defined()) alibi_slopes_ = alibi_slopes_.to(device);
}

Tensor MultiHeadAttention::rotated(const Tensor& x, const AttentionInputs& inputs) const {
  if (!options_.rope.cos.defined()) return x;
  RopeTable table = options_.rope;
  if (x.dtype() == DType::Float64) {
    table = {table.cos.to(DType::Float64), table.sin.to(DType::Float64)};
  }
  if (inputs.positions.defined()) {
    return rope(x, table, inputs.positions, options_.rope_interleaved);
  }
  const int64_t before = inputs.cache ? inputs.cache->length() : 0;
  Tensors pieces;
  int64_t first = 0;
  for (const TokenRun& run : share_.tokens.runs(x.size(1))) {
    const Tensor some = x.narrow(1, first, run.count);
    pieces.push_back(rope(some, table, before + run.begin, options_.rope_interleaved));
    first += run.count;
  }
  return pieces.size() == 1 ? pieces[0] : cat(pieces, 1);
}

MultiHeadAttention::Heads MultiHeadAttention::project(const Tensor& x,
                                                      const AttentionInputs& inputs) const {
  const int64_t head_dim = options_.head_dim;
  if (options_.fused_qkv) {
    const Tensor qkv = split_heads(qkv_(x), head_dim);
    const Tensors parts = qkv.split({options_.heads, options_.kv_heads, options_.kv_heads}, 2);
    return {rotated(parts[0], inputs), rotated(parts[1], inputs), parts[2]};
  }
  const Tensor q = rotated(split_heads(q_(x), head_dim), inputs);
  if (!inputs.context.defined()) {
    return {q, rotated(split_heads(k_(x), head_dim), inputs), split_heads(v_(x), head_dim)};
  }
  if (inputs.cache && inputs.cache->length() > 0) return {q, {}, {}};
  return {q, split_heads(k_(inputs.context), head_dim), split_heads(v_(inputs.context), head_dim)};
}

Tensor MultiHeadAttention::attend(const Heads& heads, const AttentionInputs& inputs) const {
  KVCache::View seen;
  if (!heads.k.defined()) {
    seen = inputs.cache->view();
  } else {
    seen = {heads.k.transpose(1, 2), heads.v.transpose(1, 2)};
    if (inputs.cache) seen = inputs.cache->append(seen.keys, seen.values);
  }
  const DType dtype = heads.q.dtype();
  const AttentionOptions attention_options{
      .causal = options_.causal && !inputs.context.defined(),
      .window = inputs.context.defined() ? 0 : options_.window,
      .scale = options_.scale,
      .soft_cap = options_.soft_cap,
      .alibi_slopes = wide(alibi_slopes_, dtype),
      .bias = inputs.bias.defined() ? inputs.bias.to(dtype) : inputs.bias,
      .sinks = wide(sinks_, dtype),
      .kv_lengths = inputs.kv_lengths,
      .cu_seqlens_q = inputs.cu_seqlens,
      .cu_seqlens_k = inputs.cu_seqlens,
      .dropout = is_training() ? options_.dropout : 0,
      .part = {.head = share_.first_head}};
  const Tensor q = heads.q.transpose(1, 2);
  return share_.attend ? share_.attend(q, seen.keys, seen.values, attention_options)
                       : attention(q, seen.keys, seen.values, attention_options);
}

Tensor MultiHeadAttention::attend_to_pages(const Heads& heads, PagedKVCache& cache) const {
  cache.append(heads.k.transpose(1, 2), heads.v.transpose(1, 2));
  const DType dtype = cache.key_pages().dtype();
  const PagedAttentionOptions attention_options{.causal = options_.causal,
                                                .window = options_.window,
                                                .scale = options_.scale,
                                                .soft_cap = options_.soft_cap,
                                                .alibi_slopes = wide(alibi_slopes_, dtype),
                                                .sinks = wide(sinks_, dtype)};
  const Tensor y =
      paged_attention(heads.q.to(dtype).transpose(1, 2), cache.key_pages(), cache.value_pages(),
                      cache.block_table(), cache.kv_lengths(), attention_options);
  return y.to(heads.q.dtype());
}

Tensor MultiHeadAttention::forward(const Tensor& x, const AttentionInputs& given) {
  check_inputs(x, given);
  AttentionInputs inputs = given;
  if (inputs.paged_cache && options_.rope.cos.defined() && !inputs.positions.defined())
    inputs.positions = inputs.paged_cache->next_positions(x.size(1));
  Heads heads = project(x, inputs);
  if (inputs.queries > 0) heads.q = heads.q.narrow(1, 0, inputs.queries);
  const Tensor y =
      inputs.paged_cache ? attend_to_pages(heads, *inputs.paged_cache) : attend(heads, inputs);
  return out_(y.transpose(1, 2).flatten(2));
}

}  // namespace plinth::nn
