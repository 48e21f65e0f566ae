#include "nn/layers/attention.h"

#include <limits>

#include "core/autograd.h"
#include "core/flop_counter.h"
#include "core/gradcheck.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "core/ops/views.h"
#include "core/random.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Options = MultiHeadAttentionOptions;

Options small(Options options = {}) {
  options.dim = 8;
  if (options.heads == 1) options.heads = 4;
  options.options = kFloat64;
  return options;
}

// |i + keys - queries - j|
Tensor distances(int64_t queries, int64_t keys) {
  std::vector<double> values;
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = 0; j < keys; ++j)
      values.push_back(static_cast<double>(std::abs(i + keys - queries - j)));
  return from_values(values, {queries, keys});
}
double alibi_slope(int64_t head, int64_t heads) {
  return to_vector(alibi_slopes(heads))[static_cast<size_t>(head)];
}

// Attention in plain ops: heads one by one, scores whole. visible(i, j) tells what a query sees.
Tensor naive(const MultiHeadAttention& layer, const Tensor& x, const Tensor& context,
             const std::function<bool(int64_t, int64_t)>& visible) {
  const Options& o = layer.options();
  const int64_t d = o.head_dim, group = o.heads / o.kv_heads;
  Tensor q, k, v;
  if (o.fused_qkv) {
    const Tensor qkv = linear(x, parameter(layer, "qkv.weight"), parameter(layer, "qkv.bias"));
    q = qkv.narrow(2, 0, o.heads * d);
    k = qkv.narrow(2, o.heads * d, o.kv_heads * d);
    v = qkv.narrow(2, (o.heads + o.kv_heads) * d, o.kv_heads * d);
  } else {
    q = linear(x, parameter(layer, "q.weight"), parameter(layer, "q.bias"));
    k = linear(context, parameter(layer, "k.weight"), parameter(layer, "k.bias"));
    v = linear(context, parameter(layer, "v.weight"), parameter(layer, "v.bias"));
  }
  Tensor hidden = zeros({q.size(1), k.size(1)}, kFloat64);
  for (int64_t i = 0; i < q.size(1); ++i) {
    for (int64_t j = 0; j < k.size(1); ++j) {
      if (!visible(i, j)) {
        hidden.data<double>()[i * k.size(1) + j] = -std::numeric_limits<double>::infinity();
      }
    }
  }
  Tensors heads;
  for (int64_t h = 0; h < o.heads; ++h) {
    const Tensor qh = q.narrow(2, h * d, d), kh = k.narrow(2, h / group * d, d);
    Tensor scores = matmul(qh, kh.transpose(1, 2)) * (1 / std::sqrt(static_cast<double>(d)));
    if (o.soft_cap > 0) scores = tanh(scores * (1 / o.soft_cap)) * o.soft_cap;
    if (o.alibi) scores = scores - distances(q.size(1), k.size(1)) * alibi_slope(h, o.heads);
    scores = scores + hidden;
    if (o.sinks) {  // one more key, without a value
      const Tensor sink = parameter(layer, "sinks").narrow(0, h, 1).reshape({1, 1, 1});
      scores = cat({scores, sink.expand({q.size(0), q.size(1), 1})}, 2);
    }
    const Tensor weights = softmax(scores, -1).narrow(2, 0, k.size(1));
    heads.push_back(matmul(weights, v.narrow(2, h / group * d, d)));
  }
  return linear(cat(heads, 2), parameter(layer, "out.weight"), parameter(layer, "out.bias"));
}

bool all(int64_t, int64_t) {
  return true;
}
bool causal(int64_t i, int64_t j) {
  return j <= i;
}

TEST(MultiHeadAttention, MatchesTheFormula) {
  const Tensor x = values({2, 5, 8});
  const auto windowed = [](int64_t i, int64_t j) { return j <= i && j > i - 2; };
  const struct {
    std::string name;
    Options options;
    bool (*visible)(int64_t, int64_t);
  } cases[] = {
      {"full", {}, all},
      {"causal", {.causal = true}, causal},
      {"separate projections", {.fused_qkv = false, .causal = true}, causal},
      {"window", {.causal = true, .window = 2}, windowed},
      {"grouped query", {.kv_heads = 2, .causal = true}, causal},
      {"multi query, separate", {.kv_heads = 1, .fused_qkv = false}, all},
      {"wide heads", {.head_dim = 6, .causal = true}, causal},
      {"soft cap", {.soft_cap = 0.25}, all},
      {"ALiBi", {.causal = true, .alibi = true}, causal},
      {"sinks", {.kv_heads = 2, .causal = true, .sinks = true}, causal},
  };
  for (const auto& c : cases) {
    MultiHeadAttention layer(small(c.options));
    if (c.options.sinks) parameter(layer, "sinks").set_data(values({4}, 7));
    expect_close(layer(x), naive(layer, x, x, c.visible), 1e-12, c.name);
  }
}

TEST(MultiHeadAttention, AlibiSlopesHalveEvenlyInLogarithm) {
  EXPECT_THAT(to_vector(alibi_slopes(4)), ElementsAre(0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8));
  EXPECT_THAT(to_vector(alibi_slopes(6)),
              ElementsAre(0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3));
  EXPECT_THAT(to_vector(alibi_slopes(1)), ElementsAre(0x1p-8));
  EXPECT_THAT(message_of([] { alibi_slopes(0); }),
              HasSubstr("alibi_slopes: heads is 0, expected at least 1"));
}

TEST(MultiHeadAttention, AlibiStandsAfterACache) {
  MultiHeadAttention layer(small({.causal = true, .alibi = true, .sinks = true}));
  const Tensor x = values({1, 4, 8});
  KVCache cache = layer.make_cache(1, 4);
  const NoGradGuard no_grad;
  layer(x.narrow(1, 0, 3), AttentionInputs{.cache = &cache});
  const Tensor last = layer(x.narrow(1, 3, 1), AttentionInputs{.cache = &cache});
  expect_close(last, layer(x).narrow(1, 3, 1), 1e-12, "the last token");
}

TEST(MultiHeadAttention, ReadsAContext) {
  MultiHeadAttention layer(small({.context_dim = 6, .fused_qkv = false}));
  const Tensor x = values({2, 3, 8}), context = values({2, 7, 6}, 1);
  const Tensor expected = naive(layer, x, context, all);
  expect_close(layer(x, AttentionInputs{.context = context}), expected, 1e-12);
  const NoGradGuard no_grad;
  KVCache cache = layer.make_cache(2, 7);
  for (int round = 0; round < 2; ++round) {
    expect_close(layer(x, AttentionInputs{.context = context, .cache = &cache}), expected, 1e-12);
    EXPECT_EQ(cache.length(), 7);
  }
}

TEST(MultiHeadAttention, PaddingKeysAreNotSeen) {
  MultiHeadAttention layer(small());
  const Tensor x = values({2, 5, 8});
  const Tensor y = layer(x, AttentionInputs{.kv_lengths = from_values<int64_t>({5, 3}, {2})});
  const auto first_three = [](int64_t, int64_t j) { return j < 3; };
  expect_close(y[0], naive(layer, x, x, all)[0], 1e-12);
  expect_close(y[1], naive(layer, x, x, first_three)[1], 1e-12);
}

TEST(MultiHeadAttention, PackedSequencesDoNotSeeEachOther) {
  MultiHeadAttention layer(small({.causal = true}));
  const Tensor x = values({1, 7, 8});
  const Tensor y = layer(x, AttentionInputs{.cu_seqlens = from_values<int64_t>({0, 3, 7}, {3})});
  expect_close(y.narrow(1, 0, 3), layer(x.narrow(1, 0, 3)), 1e-12);
  expect_close(y.narrow(1, 3, 4), layer(x.narrow(1, 3, 4)), 1e-12);
}

TEST(MultiHeadAttention, SomeQueriesGiveWhatTheyGiveAmongAll) {
  for (const bool fused : {true, false}) {
    MultiHeadAttention layer(small({.fused_qkv = fused}));
    Tensor x = values({2, 7, 8});
    x.set_requires_grad(true);
    const Tensor lengths = from_values<int64_t>({7, 4}, {2});
    const auto gradients = [&](const Tensor& y) {
      layer.zero_grad();
      x.set_grad({});
      sum(y * y).backward();
      Tensors found = {x.grad()};
      for (const Tensor& each : layer.parameters()) found.push_back(each.grad());
      return found;
    };
    const Tensor all = layer(x, AttentionInputs{.kv_lengths = lengths}).narrow(1, 0, 3);
    const Tensors expected = gradients(all);
    const Tensor some = layer(x, AttentionInputs{.kv_lengths = lengths, .queries = 3});
    EXPECT_EQ(some.shape(), (Shape{2, 3, 8}));
    expect_close(some, all, 1e-14);
    const Tensors found = gradients(some);
    for (size_t i = 0; i < found.size(); ++i) expect_close(found[i], expected[i], 1e-12);
  }
}

TEST(MultiHeadAttention, CachedDecodingGivesTheSame) {
  for (const bool with_rope : {false, true}) {
    Options options = small({.kv_heads = 2, .causal = true});
    if (with_rope) options.rope = rope_table(16, 2, 10000, {}, DType::Float64);
    MultiHeadAttention layer(options);
    const NoGradGuard no_grad;
    const Tensor x = values({2, 9, 8});
    const Tensor whole = layer(x);
    KVCache cache = layer.make_cache(2, 9);
    int64_t at = 0;
    for (const int64_t tokens : {4, 1, 1, 2, 1}) {
      const Tensor y = layer(x.narrow(1, at, tokens), AttentionInputs{.cache = &cache});
      expect_close(y, whole.narrow(1, at, tokens), 1e-12);
      at += tokens;
      EXPECT_EQ(cache.length(), at);
    }
    cache.truncate(5);
    expect_close(layer(x.narrow(1, 5, 2), AttentionInputs{.cache = &cache}), whole.narrow(1, 5, 2),
                 1e-12);
  }
}

// Two sequences, of which the second begins two tokens later.
TEST(MultiHeadAttention, PagedDecodingGivesTheSame) {
  for (const bool with_rope : {false, true}) {
    Options options = small({.kv_heads = 2, .causal = true, .window = 6, .soft_cap = 2});
    options.alibi = options.sinks = true;
    if (with_rope) options.rope = rope_table(16, 2, 10000, {}, DType::Float64);
    MultiHeadAttention layer(options);
    const NoGradGuard no_grad;
    const Tensor x = values({2, 9, 8});
    const Tensor whole = layer(x);
    PagedKVCache cache = layer.make_paged_cache({.sequences = 2, .pages = 8, .page_size = 3});
    const auto run = [&](const Tensor& tokens) {
      return layer(tokens, AttentionInputs{.paged_cache = &cache});
    };
    cache.activate({0});
    expect_close(run(x.narrow(0, 0, 1).narrow(1, 0, 2)), whole.narrow(0, 0, 1).narrow(1, 0, 2),
                 1e-12);
    cache.activate({1, 0});
    for (int64_t at = 0; at < 7; ++at) {
      const Tensor tokens =
          cat({x.narrow(0, 1, 1).narrow(1, at, 1), x.narrow(0, 0, 1).narrow(1, at + 2, 1)}, 0);
      const Tensor y = run(tokens);
      expect_close(y.narrow(0, 0, 1), whole.narrow(0, 1, 1).narrow(1, at, 1), 1e-12);
      expect_close(y.narrow(0, 1, 1), whole.narrow(0, 0, 1).narrow(1, at + 2, 1), 1e-12);
    }
    KVCache other = layer.make_cache(2, 4);
    EXPECT_THAT(
        message_of([&] { layer(x, AttentionInputs{.cache = &other, .paged_cache = &cache}); }),
        HasSubstr("a paged cache goes with neither another cache, a context, kv_lengths"));
  }
}

TEST(MultiHeadAttention, RopeSeesDistancesOnly) {
  Options options = small({.causal = true});
  options.rope = rope_table(32, 2, 10000, {}, DType::Float64);
  MultiHeadAttention layer(options);
  const Tensor x = values({1, 4, 8});
  const auto positions = [](int64_t first) {
    return from_values<int64_t>({first, first + 1, first + 2, first + 3}, {1, 4});
  };
  const Tensor y = layer(x);
  expect_close(layer(x, AttentionInputs{.positions = positions(0)}), y, 1e-12);
  expect_close(layer(x, AttentionInputs{.positions = positions(20)}), y, 1e-9);
  const Tensor stretched =
      layer(x, AttentionInputs{.positions = from_values<int64_t>({0, 2, 4, 6}, {1, 4})});
  EXPECT_NE(to_vector(stretched), to_vector(y));
}

TEST(MultiHeadAttention, GradientsAgreeWithFiniteDifferences) {
  const RopeTable table = rope_table(8, 2, 100, {}, DType::Float64);
  const Options cases[] = {{.causal = true},
                           {.kv_heads = 2, .fused_qkv = false},
                           {.kv_heads = 2, .causal = true, .rope = table},
                           {.qkv_bias = false, .out_bias = false, .window = 2},
                           {.causal = true, .soft_cap = 2, .alibi = true, .sinks = true}};
  for (const Options& options : cases) {
    MultiHeadAttention layer(small(options));
    Tensors inputs = layer.parameters();
    inputs.push_back(values({2, 3, 8}).detach().set_requires_grad());
    EXPECT_EQ(gradcheck([&](const Tensors& all) { return Tensors{layer(all.back())}; }, inputs,
                        {.absolute = 2e-6}),
              "");
  }
}

TEST(MultiHeadAttention, DropoutWorksInTrainingOnly) {
  MultiHeadAttention layer(small({.dropout = 0.5}));
  const Tensor x = values({2, 5, 8});
  EXPECT_NE(to_vector(layer(x)), to_vector(layer(x)));
  layer.eval();
  EXPECT_EQ(to_vector(layer(x)), to_vector(layer(x)));
}

TEST(MultiHeadAttention, CountsItsOperations) {
  MultiHeadAttention layer(small({.causal = true}));
  const FlopCounter counter;
  layer(values({2, 5, 8}));
  const int64_t projections = 2 * (2 * 5) * 8 * (24 + 8);
  const int64_t pairs = 2 * 4 * (5 * 6 / 2);  // batch, heads, lower triangle
  EXPECT_EQ(counter.count(), projections + 4 * pairs * 2);
}

TEST(MultiHeadAttention, BadArgumentsAreNamed) {
  const auto make = [](Options options) { MultiHeadAttention layer(options); };
  EXPECT_THAT(message_of([&] { make({}); }), HasSubstr("MultiHeadAttention: got dim 0"));
  EXPECT_THAT(message_of([&] { make({.dim = 8, .heads = 3}); }), HasSubstr("multiple of heads, 3"));
  EXPECT_THAT(message_of([&] { make({.dim = 8, .heads = 4, .kv_heads = 3}); }),
              HasSubstr("heads is 4, expected a multiple of kv_heads, 3"));
  EXPECT_THAT(message_of([&] { make({.dim = 8, .heads = 4, .dropout = 1}); }),
              HasSubstr("dropout is 1"));
  Options options = small({.fused_qkv = false});
  MultiHeadAttention fused(small()), separate(options);
  options.rope = rope_table(8, 2, 100, {}, DType::Float64);
  MultiHeadAttention rotating(options);
  const Tensor x = values({2, 3, 8});
  EXPECT_THAT(message_of([&] {
                fused(values({3, 8}));
              }),
              HasSubstr("x has shape [3, 8], expected [batch, tokens, 8]"));
  EXPECT_THAT(message_of([&] { fused(x, AttentionInputs{.context = x}); }),
              HasSubstr("needs fused_qkv = false"));
  EXPECT_THAT(message_of([&] { rotating(x, AttentionInputs{.context = x}); }),
              HasSubstr("takes no RoPE"));
  EXPECT_THAT(message_of([&] { fused(x, AttentionInputs{.queries = 4}); }),
              HasSubstr("queries is 4, takes 1 to the 3 tokens of x"));
  MultiHeadAttention causal(small({.causal = true}));
  EXPECT_THAT(message_of([&] { causal(x, AttentionInputs{.queries = 1}); }),
              HasSubstr("without causal, window or alibi"));
  EXPECT_THAT(message_of([&] { separate(x, AttentionInputs{.context = x, .queries = 1}); }),
              HasSubstr("queries goes with neither"));
  Options by_distance = small({.fused_qkv = false, .alibi = true});
  MultiHeadAttention sloping(by_distance);
  EXPECT_THAT(message_of([&] { sloping(x, AttentionInputs{.context = x}); }),
              HasSubstr("takes no ALiBi"));
  EXPECT_THAT(message_of([&] {
                separate(x, AttentionInputs{.context = values({2, 3, 7})});
              }),
              HasSubstr("context has shape [2, 3, 7], expected [2, keys, 8]"));
  const Tensor lengths = from_values<int64_t>({0, 3}, {2});
  EXPECT_THAT(message_of([&] { rotating(x, AttentionInputs{.cu_seqlens = lengths}); }),
              HasSubstr("need positions"));
  KVCache cache = separate.make_cache(2, 4);
  EXPECT_THAT(
      message_of([&] { separate(x, AttentionInputs{.cache = &cache, .cu_seqlens = lengths}); }),
      HasSubstr("neither a cache nor a context"));
}

TEST(MultiHeadAttention, TakesAnEmptyBatchAndNoTokens) {
  for (const bool fused : {true, false}) {
    MultiHeadAttention layer(small({.fused_qkv = fused, .rope = rope_table(3, 2)}));
    for (const Shape& shape : {Shape{0, 3, 8}, Shape{2, 0, 8}}) {
      const Tensor x = zeros(shape, kFloat64).set_requires_grad();
      const Tensor y = layer(x);
      EXPECT_EQ(y.shape(), shape);
      sum(y).backward();
      EXPECT_EQ(x.grad().shape(), shape);
      const Tensor gradient = parameter(layer, "out.weight").grad();
      EXPECT_THAT(to_vector(gradient), testing::Each(0));
    }
  }
}

TEST(KVCache, RefusesWhatDoesNotFitAndStaysAsItWas) {
  KVCache cache(2, 3, 4, 5);
  const Tensor two = ones({2, 3, 2, 5});
  cache.append(two, two);
  EXPECT_THAT(message_of([&] {
                cache.append(ones({2, 3, 3, 5}), ones({2, 3, 3, 5}));
              }),
              HasSubstr("3 tokens do not fit: it holds 2 of at most 4"));
  EXPECT_THAT(message_of([&] {
                cache.append(two, ones({2, 3, 1, 5}));
              }),
              HasSubstr("got keys [2, 3, 2, 5] and values [2, 3, 1, 5]"));
  EXPECT_THAT(message_of([&] {
                cache.append(ones({1, 3, 1, 5}), ones({1, 3, 1, 5}));
              }),
              HasSubstr("expected [2, 3, tokens, 5]"));
  EXPECT_THAT(message_of([&] {
                const Tensor tracked = ones({2, 3, 1, 5}).set_requires_grad();
                cache.append(tracked, tracked);
              }),
              HasSubstr("hold a NoGradGuard"));
  EXPECT_THAT(message_of([&] { cache.truncate(3); }), HasSubstr("it holds 2"));
  EXPECT_THAT(message_of([&] { KVCache(0, 1, 1, 1); }), HasSubstr("got batch 0"));
  EXPECT_EQ(cache.length(), 2);
  EXPECT_EQ(cache.append(two, two).keys.shape(), Shape({2, 3, 4, 5}));
}

TEST(KVCache, KeepsItsOwnDtype) {
  KVCache cache(1, 1, 2, 2, {DType::BFloat16, {}});
  const KVCache::View view = cache.append(full({1, 1, 1, 2}, 3), full({1, 1, 1, 2}, 4));
  EXPECT_EQ(view.keys.dtype(), DType::BFloat16);
  EXPECT_THAT(to_vector(view.keys), ElementsAre(3, 3));
  EXPECT_THAT(to_vector(view.values), ElementsAre(4, 4));
}

}  // namespace
}  // namespace plinth::nn
