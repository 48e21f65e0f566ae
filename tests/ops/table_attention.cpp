// Attention.

#include "core/ops/attention.h"

#include <algorithm>
#include <cmath>

#include "core/ops/factories.h"
#include "core/random.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::Index;

struct Sizes {
  int64_t batch, heads, kv_heads, queries, keys, dim;
};

// The sequence of a packed batch in which a row lies, and where it starts and ends.
struct Span {
  int64_t first, last;
};
Span span_of(const Tensor& offsets, int64_t row, int64_t total) {
  if (!offsets.defined()) return {0, total};
  int64_t s = 0;
  while (static_cast<int64_t>(at(offsets, {s + 1})) <= row) ++s;
  return {static_cast<int64_t>(at(offsets, {s})), static_cast<int64_t>(at(offsets, {s + 1}))};
}
// The keys of the sequence to which query row i belongs.
Span keys_of(const AttentionOptions& o, int64_t i, int64_t keys) {
  if (!o.cu_seqlens_q.defined()) return {0, keys};
  int64_t s = 0;
  while (static_cast<int64_t>(at(o.cu_seqlens_q, {s + 1})) <= i) ++s;
  return {static_cast<int64_t>(at(o.cu_seqlens_k, {s})),
          static_cast<int64_t>(at(o.cu_seqlens_k, {s + 1}))};
}

// Whether query i of batch b sees key j, from the words of AttentionOptions.
bool sees(const AttentionOptions& o, int64_t b, int64_t i, int64_t j, int64_t queries,
          int64_t keys) {
  const Span q = span_of(o.cu_seqlens_q, i, queries), k = keys_of(o, i, keys);
  if (j < k.first || j >= k.last) return false;
  if (o.kv_lengths.defined() && j >= static_cast<int64_t>(at(o.kv_lengths, {b}))) return false;
  // The key beside which the query stands.
  const int64_t beside = (i - q.first) + (k.last - k.first) - (q.last - q.first);
  const int64_t distance = beside - (j - k.first);
  if (o.causal && distance < 0) return false;
  return o.window == 0 || std::abs(distance) < o.window;
}

// The score of query i and key j, from the words of AttentionOptions.
double score_of(const Tensors& in, const AttentionOptions& o, int64_t b, int64_t h, int64_t i,
                int64_t j) {
  const Tensor &q = in[0], &k = in[1];
  const int64_t dim = q.size(3), group = q.size(1) / k.size(1);
  double score = 0;
  for (int64_t e = 0; e < dim; ++e) score += at(q, {b, h, i, e}) * at(k, {b, h / group, j, e});
  score *= o.scale != 0 ? o.scale : 1 / std::sqrt(double(dim));
  if (o.soft_cap > 0) score = o.soft_cap * std::tanh(score / o.soft_cap);
  if (o.alibi_slopes.defined())
    score -= at(o.alibi_slopes, {h}) * double(std::abs(i + k.size(2) - q.size(2) - j));
  if (o.bias.defined()) score += naive::at_broadcast(o.bias, {b, h, i, j});
  return score;
}

// The sum of a query's exponentials.
double total_of(const Tensors& in, const AttentionOptions& o, int64_t b, int64_t h, int64_t i) {
  const int64_t queries = in[0].size(2), keys = in[1].size(2);
  double total = o.sinks.defined() ? std::exp(at(o.sinks, {h})) : 0;
  for (int64_t j = 0; j < keys; ++j)
    if (sees(o, b, i, j, queries, keys)) total += std::exp(score_of(in, o, b, h, i, j));
  return total;
}

// Scores, softmax and weighted values, one query at a time.
Tensors attention_reference(const Tensors& in, const AttentionOptions& o) {
  const Tensor &q = in[0], &v = in[2];
  const int64_t keys = v.size(2), group = q.size(1) / std::max<int64_t>(1, v.size(1));
  const Tensor total = naive::build({q.size(0), q.size(1), q.size(2)}, [&](const Index& i) {
    return total_of(in, o, i[0], i[1], i[2]);
  });
  const Tensor out = naive::build(q.shape(), [&](const Index& i) {
    const int64_t b = i[0], h = i[1], t = i[2];
    double result = 0;
    for (int64_t j = 0; j < keys; ++j) {
      if (!sees(o, b, t, j, q.size(2), keys)) continue;
      result += std::exp(score_of(in, o, b, h, t, j)) * at(v, {b, h / group, j, i[3]});
    }
    return result == 0 ? 0 : result / at(total, {b, h, t});
  });
  return {out, naive::map(total, [](double x) { return std::log(x); })};
}

// The options that a case is called with: bias and sinks are its inputs, after q, k and v.
AttentionOptions given_options(AttentionOptions o, const Tensors& in) {
  const Tensor& q = in[0];
  const DType wide = q.dtype() == DType::Float64 ? DType::Float64 : DType::Float32;
  size_t next = 3;
  if (o.bias.defined()) o.bias = in[next++];
  if (o.sinks.defined()) o.sinks = in[next++].to(wide);
  if (o.alibi_slopes.defined()) o.alibi_slopes = o.alibi_slopes.to(wide).to(q.device());
  return o;
}

Case attention_case(const std::string& label, Sampler& sample, const Sizes& n,
                    const AttentionOptions& options = {}, bool gradcheck = true,
                    bool with_lse = false) {
  Tensors inputs = {sample({n.batch, n.heads, n.queries, n.dim}),
                    sample({n.batch, n.kv_heads, n.keys, n.dim}),
                    sample({n.batch, n.kv_heads, n.keys, n.dim})};
  for (const Tensor& given : {options.bias, options.sinks}) {
    if (given.defined()) inputs.push_back(given);
  }
  Case result{label, inputs,
              [=](const Tensors& in) {
                manual_seed(5);
                const AttentionOptions given = given_options(options, in);
                if (!with_lse) return Tensors{attention(in[0], in[1], in[2], given)};
                const AttentionResult both = attention_with_lse(in[0], in[1], in[2], given);
                return Tensors{both.out, both.lse};
              },
              [=](const Tensors& in) {
                Tensors both = attention_reference(in, given_options(options, in));
                return with_lse ? both : Tensors{both[0]};
              },
              gradcheck};
  if (options.bias.defined()) result.magnitude = 1;  // of the terms of a broadcast bias's gradient
  // Which weights are dropped is known to the kernel's tests.
  if (options.dropout > 0) result.reference = {};
  return result;
}

std::vector<Case> attention_cases(Sampler& s) {
  const auto offsets = [](std::initializer_list<int64_t> values) {
    return from_values(values, {static_cast<int64_t>(values.size())});
  };
  const Tensor slopes = from_values<double>({0.5, 0.0625}, {2});
  // Head dimensions are powers of 4, whose scale is exact.
  const Sizes small{2, 4, 2, 3, 5, 4}, tiny{2, 2, 1, 2, 3, 4};
  return {
      attention_case("grouped heads", s, small),
      attention_case("one head, one query", s, {1, 1, 1, 1, 5, 4}),
      attention_case("causal", s, {2, 2, 2, 5, 5, 4}, {.causal = true}),
      attention_case("causal after a cache", s, small, {.causal = true}),
      attention_case("causal, more queries than keys", s, {1, 2, 1, 5, 3, 4}, {.causal = true}),
      attention_case("window", s, {1, 2, 2, 6, 6, 4}, {.window = 2}),
      attention_case("causal window", s, {1, 2, 2, 6, 6, 4}, {.causal = true, .window = 3}),
      attention_case("own scale", s, small, {.scale = 0.25}),
      attention_case("padded keys", s, small, {.kv_lengths = offsets({3, 0})}),
      attention_case("packed sequences", s, {1, 2, 1, 6, 6, 4},
                     {.causal = true,
                      .cu_seqlens_q = offsets({0, 2, 2, 6}),
                      .cu_seqlens_k = offsets({0, 2, 2, 6})}),
      attention_case(
          "packed sequences of unequal lengths", s, {1, 2, 2, 4, 7, 4},
          {.causal = true, .cu_seqlens_q = offsets({0, 3, 4}), .cu_seqlens_k = offsets({0, 3, 7})}),
      attention_case("dropout", s, small, {.dropout = 0.4}),
      attention_case("soft cap", s, tiny, {.causal = true, .soft_cap = 1.5}),
      attention_case("ALiBi", s, tiny, {.alibi_slopes = slopes}),
      attention_case("ALiBi, packed", s, {1, 2, 1, 6, 6, 4},
                     {.causal = true,
                      .alibi_slopes = slopes,
                      .cu_seqlens_q = offsets({0, 2, 6}),
                      .cu_seqlens_k = offsets({0, 2, 6})}),
      attention_case("sinks", s, small, {.sinks = s({4})}),
      attention_case("sinks of queries without keys", s, {1, 2, 1, 5, 3, 4},
                     {.causal = true, .sinks = s({2})}),
      attention_case("bias", s, tiny, {.bias = s({2, 2, 2, 3})}),
      attention_case("bias of a batch element", s, tiny, {.bias = s({2, 1, 2, 3})}),
      attention_case("bias of rank 3", s, tiny, {.causal = true, .bias = s({2, 2, 3})}),
      attention_case("bias of rank 2", s, tiny, {.bias = s({2, 3})}),
      attention_case("bias of rank 1", s, tiny, {.bias = s({3})}),
      attention_case("bias of keys", s, tiny, {.bias = s({2, 1, 1, 3})}),
      attention_case("bias of queries", s, tiny, {.bias = s({1, 2, 2, 1}), .sinks = s({2})}),
      attention_case("bias of no dimension", s, tiny, {.bias = s({}), .sinks = s({2})}),
      attention_case("all that bends scores", s, tiny,
                     {.window = 2,
                      .soft_cap = 2,
                      .alibi_slopes = slopes,
                      .bias = s({2, 2, 3}),
                      .sinks = s({2}),
                      .kv_lengths = offsets({3, 1}),
                      .dropout = 0.3}),
      attention_case("no batch", s, {0, 2, 2, 3, 3, 4}),
      attention_case("no queries", s, {1, 2, 2, 0, 3, 4}),
      attention_case("no keys", s, {1, 2, 2, 3, 0, 4}),
      attention_case("no keys, but biases and sinks", s, {1, 2, 2, 3, 0, 4},
                     {.bias = s({3, 1}), .sinks = s({2})}),
      attention_case("large", s, {1, 2, 1, 130, 140, 8}, {.causal = true, .scale = 0.25}, false),
      attention_case("the largest window", s, {1, 2, 2, 6, 9, 4}, {.window = INT64_MAX}),
      attention_case("the largest causal window", s, {1, 2, 2, 9, 6, 4},
                     {.causal = true, .window = INT64_MAX}),
      attention_case("the largest window of many queries", s, {1, 1, 1, 130, 20, 8},
                     {.window = INT64_MAX, .scale = 0.25}, false),
      attention_case("a soft cap between float32's numbers", s, tiny, {.soft_cap = 1.1}),
      attention_case("no heads", s, {1, 0, 0, 3, 3, 4}),
      attention_case("no heads, many queries", s, {1, 0, 0, 9, 7, 4}, {.causal = true}),
      attention_case("no heads, but a bias", s, {1, 0, 0, 3, 3, 4},
                     {.bias = s({3, 1}), .sinks = s({0})}),
  };
}

std::vector<Case> attention_with_lse_cases(Sampler& s) {
  const auto with_lse = [&](const std::string& label, const Sizes& n,
                            const AttentionOptions& options = {}, bool gradcheck = true) {
    return attention_case(label, s, n, options, gradcheck, true);
  };
  return {
      with_lse("grouped heads", {2, 2, 1, 2, 3, 4}),
      with_lse("causal", {1, 2, 1, 5, 5, 4}, {.causal = true}),
      with_lse("sinks, soft cap and bias", {2, 2, 1, 2, 3, 4},
               {.soft_cap = 2, .bias = s({1, 2, 3}), .sinks = s({2})}),
      with_lse("no key, but a sink", {1, 2, 1, 5, 3, 4}, {.causal = true, .sinks = s({2})}),
      with_lse("a query without keys", {1, 2, 1, 5, 3, 4}, {.causal = true}, false),
      with_lse("no queries", {1, 2, 2, 0, 3, 4}),
      with_lse("large", {1, 1, 1, 40, 50, 4}, {.causal = true}, false),
  };
}

std::vector<Case> attention_weights_cases(Sampler& s) {
  const std::vector<int64_t> heads = {3, 0}, rows = {2, 0, 4};
  // Without a gradient: the inputs are taken off the graph.
  const auto weights = [&](const std::string& label, const Sizes& n,
                           const AttentionOptions& options = {}) {
    Case c = attention_case(label, s, n, options, false);
    c.op = [=](const Tensors& in) {
      Tensors plain;
      for (const Tensor& x : in) plain.push_back(x.detach());
      return Tensors{
          attention_weights(plain[0], plain[1], given_options(options, plain), heads, rows)};
    };
    c.reference = [=](const Tensors& in) {
      const AttentionOptions o = given_options(options, in);
      const int64_t queries = in[0].size(2), keys = in[1].size(2);
      const Shape shape = {in[0].size(0), 2, 3, keys};
      return Tensors{naive::build(shape, [&](const Index& x) {
        const int64_t b = x[0], h = heads[size_t(x[1])], i = rows[size_t(x[2])];
        if (!sees(o, b, i, x[3], queries, keys)) return 0.0;
        return std::exp(score_of(in, o, b, h, i, x[3])) / total_of(in, o, b, h, i);
      })};
    };
    return c;
  };
  const auto offsets = [](std::initializer_list<int64_t> values) {
    return from_values(values, {static_cast<int64_t>(values.size())});
  };
  return {
      weights("full", {2, 4, 2, 5, 7, 4}),
      weights("causal, more queries than keys", {1, 4, 2, 5, 3, 4}, {.causal = true}),
      weights("all that bends scores", {2, 4, 2, 5, 7, 4},
              {.causal = true,
               .soft_cap = 2,
               .alibi_slopes = from_values<double>({0.5, 0.25, 0.125, 0.0625}, {4}),
               .bias = s({4, 5, 7}),
               .sinks = s({4}),
               .kv_lengths = offsets({6, 2}),
               .dropout = 0.5}),
      weights("packed sequences", {1, 4, 4, 5, 7, 4},
              {.cu_seqlens_q = offsets({0, 1, 1, 5}), .cu_seqlens_k = offsets({0, 2, 3, 7})}),
      weights("long", {1, 4, 1, 5, 70, 16}, {.scale = 0.25}),
      weights("no keys", {1, 4, 2, 5, 0, 4}),
      weights("no batch", {0, 4, 2, 5, 3, 4}),
  };
}

std::vector<ErrorCase> attention_weights_errors() {
  const Tensor q = zeros({2, 4, 3, 4}), k = zeros({2, 2, 5, 4});
  return {
      {[=] {
         attention_weights(q, k, {}, {0, 4}, {0});
       },
       ErrorKind::Argument, "attention_weights: heads[1] is 4, expected within [0, 4)"},
      {[=] { attention_weights(q, k, {}, {0}, {-1}); }, ErrorKind::Argument,
       "attention_weights: rows[0] is -1, expected within [0, 3)"},
      {[=] { attention_weights(q, k, {.window = -1}, {0}, {0}); }, ErrorKind::Argument,
       "attention_weights: window is -1"},
      {[=] {
         const Tensor x = q.clone().set_requires_grad();
         attention_weights(x, k, {}, {0}, {0}).backward(ones({2, 1, 1, 5}));
       },
       ErrorKind::Argument, "attention_weights: has no gradient, but one was asked for"},
  };
}

std::vector<ErrorCase> attention_errors() {
  const Tensor q = zeros({2, 4, 3, 4}), k = zeros({2, 2, 5, 4});
  const Tensor one = zeros({1, 2, 3, 4});
  const auto ids = [](std::initializer_list<int64_t> values) {
    return from_values(values, {static_cast<int64_t>(values.size())});
  };
  return {
      {[=] {
         attention(zeros({2, 3}), k, k);
       },
       ErrorKind::Shape,
       "attention: q has shape [2, 3], expected [batch, heads, queries, head_dim]"},
      {[=] {
         attention(q, zeros({2, 2, 5, 8}), k);
       },
       ErrorKind::Shape, "attention: k has shape [2, 2, 5, 8], expected [2, kv_heads, keys, 4]"},
      {[=] {
         attention(q, k, zeros({2, 2, 4, 4}));
       },
       ErrorKind::Shape, "attention: v has shape [2, 2, 4, 4], expected [2, 2, 5, 4] (that of k)"},
      {[=] {
         attention(q, zeros({2, 3, 5, 4}), zeros({2, 3, 5, 4}));
       },
       ErrorKind::Shape, "attention: q has 4 heads, expected a multiple of k's 3"},
      {[=] {
         attention(q, zeros({2, 2, 5, 4}, {DType::Float16, {}}), k);
       },
       ErrorKind::DType, "attention: k has dtype float16, expected float32 (that of q)"},
      {[=] { attention(q, k, k, {.window = -1}); }, ErrorKind::Argument,
       "attention: window is -1, expected at least 0"},
      {[=] { attention(q, k, k, {.scale = NAN}); }, ErrorKind::Argument,
       "attention: scale is nan, expected a finite number"},
      {[=] { attention(q, k, k, {.soft_cap = -1}); }, ErrorKind::Argument,
       "attention: soft_cap is -1, expected a finite number of at least 0"},
      {[=] { attention(q, k, k, {.soft_cap = INFINITY}); }, ErrorKind::Argument,
       "attention: soft_cap is inf, expected a finite number"},
      {[=] { attention(q, k, k, {.scale = 1e-50}); }, ErrorKind::Argument,
       "attention: scale is 1e-50, expected 0 or a size within [1.17549e-38, 8.50706e+37], which "
       "float32 holds"},
      {[=] { attention(q, k, k, {.scale = -1e39}); }, ErrorKind::Argument,
       "attention: scale is -1e+39, expected 0 or a size"},
      {[=] { attention(q, k, k, {.soft_cap = 1e39}); }, ErrorKind::Argument,
       "attention: soft_cap is 1e+39, expected 0 or a size"},
      {[=] { attention(q, k, k, {.soft_cap = 1e-50}); }, ErrorKind::Argument,
       "attention: soft_cap is 1e-50, expected 0 or a size"},
      {[=] {
         const Tensor wide = one.to(DType::Float64);
         attention(wide, wide, wide, {.soft_cap = 1e-308});
       },
       ErrorKind::Argument,
       "attention: soft_cap is 1e-308, expected 0 or a size within [2.22507e-308, 4.49423e+307], "
       "which float64 holds"},
      {[=] { attention(q, k, k, {.alibi_slopes = zeros({3})}); }, ErrorKind::Shape,
       "attention: alibi_slopes has shape [3], expected [4] (heads of q)"},
      {[=] {
         attention(q, k, k, {.alibi_slopes = zeros({4}, {DType::BFloat16, {}})});
       },
       ErrorKind::DType,
       "attention: alibi_slopes has dtype bfloat16, expected float32 beside a q of float32"},
      {[=] { attention(q, k, k, {.alibi_slopes = zeros({4}).set_requires_grad()}); },
       ErrorKind::Argument, "attention: alibi_slopes requires a gradient"},
      {[=] {
         attention(q, k, k, {.sinks = zeros({4, 1})});
       },
       ErrorKind::Shape, "attention: sinks has shape [4, 1], expected [4] (heads of q)"},
      {[=] {
         attention(q, k, k, {.sinks = zeros({4}, {DType::Float64, {}})});
       },
       ErrorKind::DType,
       "attention: sinks has dtype float64, expected float32 beside a q of float32"},
      {[=] {
         attention(q, k, k, {.bias = zeros({4, 3, 4})});
       },
       ErrorKind::Shape,
       "attention: bias has shape [4, 3, 4], expected one that broadcasts to [2, 4, 3, 5] (batch, "
       "heads, queries, keys)"},
      {[=] {
         attention(q, k, k, {.bias = zeros({1, 2, 4, 3, 5})});
       },
       ErrorKind::Shape, "attention: bias has shape [1, 2, 4, 3, 5], expected one that broadcasts"},
      {[=] {
         attention(q, k, k, {.bias = zeros({3, 5}, {DType::Float16, {}})});
       },
       ErrorKind::DType, "attention: bias has dtype float16, expected float32 (that of q)"},
      {[=] {
         attention(
             one, one, one,
             {.bias = zeros({3, 3}), .cu_seqlens_q = ids({0, 3}), .cu_seqlens_k = ids({0, 3})});
       },
       ErrorKind::Argument, "attention: bias is given with cu_seqlens, expected one of them"},
      {[=] { attention(q, k, k, {.dropout = 1}); }, ErrorKind::Argument,
       "attention: dropout is 1, expected within [0, 1)"},
      {[=] { attention(q, k, k, {.dropout = 0.99999999}); }, ErrorKind::Argument,
       "attention: dropout is 1, expected within [0, 1) as float32"},
      {[=] {
         attention(q, k, k, {.kv_lengths = ids({5, 6})});
       },
       ErrorKind::Argument, "attention: kv_lengths[1] is 6, expected within [0, 5]"},
      {[=] { attention(q, k, k, {.kv_lengths = ids({5})}); }, ErrorKind::Shape,
       "attention: kv_lengths has shape [1], expected [2] (batch size of q)"},
      {[=] {
         attention(one, one, one, {.cu_seqlens_q = ids({0, 3})});
       },
       ErrorKind::Argument, "attention: only one of cu_seqlens_q and cu_seqlens_k is given"},
      {[=] {
         attention(q, k, k, {.cu_seqlens_q = ids({0, 3}), .cu_seqlens_k = ids({0, 5})});
       },
       ErrorKind::Argument, "attention: cu_seqlens are given with a batch of 2"},
      {[=] {
         attention(one, one, one,
                   {.cu_seqlens_q = ids({0, 2, 1, 3}), .cu_seqlens_k = ids({0, 1, 2, 3})});
       },
       ErrorKind::Argument, "attention: cu_seqlens_q[2] is 1, expected offsets that rise from 0"},
      {[=] {
         attention(one, one, one, {.cu_seqlens_q = ids({0, 3}), .cu_seqlens_k = ids({0, 2, 3})});
       },
       ErrorKind::Shape, "attention: cu_seqlens_k has shape [3], expected [2]"},
      {[=] {
         attention(one, one, one, {.cu_seqlens_q = ids({0, 4}), .cu_seqlens_k = ids({0, 3})});
       },
       ErrorKind::Argument,
       "attention: cu_seqlens_q[1] is 4, expected offsets that rise from 0 to 3"},
  };
}

}  // namespace

std::vector<Row> attention_rows() {
  return {
      {.name = "attention",
       .cases = attention_cases,
       .errors = attention_errors(),
       .tolerance = {.units = 4, .gradient_units = 12},
       .second = Second::Refused},
      {.name = "attention_with_lse",
       .cases = attention_with_lse_cases,
       .errors = {{[] {
                     attention_with_lse(zeros({2, 3}), {}, {});
                   },
                   ErrorKind::Shape,
                   "attention_with_lse: q has shape [2, 3], expected [batch, heads, queries"}},
       .tolerance = {.units = 4, .gradient_units = 12},
       .second = Second::Refused},
      {.name = "attention_weights",
       .cases = attention_weights_cases,
       .errors = attention_weights_errors(),
       .tolerance = {.units = 8}},
  };
}

}  // namespace plinth::op_table
