// Attention and rotary embedding.

#include "core/ops/attention.h"

#include <cmath>

#include "core/ops/factories.h"
#include "core/ops/rope.h"
#include "core/random.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::Index;

// ---- attention ----

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

// Scores, softmax and weighted values, one query at a time.
Tensor attention_reference(const Tensors& in, const AttentionOptions& o) {
  const Tensor &q = in[0], &k = in[1], &v = in[2];
  const int64_t keys = k.size(2), dim = q.size(3), group = q.size(1) / k.size(1);
  const double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(double(dim));
  return naive::build(q.shape(), [&](const Index& i) {
    const int64_t b = i[0], h = i[1], t = i[2], d = i[3];
    double total = 0, result = 0;
    for (int64_t j = 0; j < keys; ++j) {
      if (!sees(o, b, t, j, q.size(2), keys)) continue;
      double score = 0;
      for (int64_t e = 0; e < dim; ++e) score += at(q, {b, h, t, e}) * at(k, {b, h / group, j, e});
      const double weight = std::exp(scale * score);
      total += weight;
      result += weight * at(v, {b, h / group, j, d});
    }
    return total > 0 ? result / total : 0;
  });
}

Case attention_case(const std::string& label, Sampler& sample, const Sizes& n,
                    const AttentionOptions& options = {}, bool gradcheck = true) {
  Case result{
      label,
      {sample({n.batch, n.heads, n.queries, n.dim}), sample({n.batch, n.kv_heads, n.keys, n.dim}),
       sample({n.batch, n.kv_heads, n.keys, n.dim})},
      [options](const Tensors& in) {
        manual_seed(5);
        return Tensors{attention(in[0], in[1], in[2], options)};
      },
      [options](const Tensors& in) { return Tensors{attention_reference(in, options)}; },
      gradcheck};
  // Which weights are dropped is known to the kernel's tests.
  if (options.dropout > 0) result.reference = {};
  return result;
}

std::vector<Case> attention_cases(Sampler& s) {
  const auto offsets = [](std::initializer_list<int64_t> values) {
    return from_values(values, {static_cast<int64_t>(values.size())});
  };
  // Head dimensions are powers of 4, whose scale is exact.
  const Sizes small{2, 4, 2, 3, 5, 4};
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
      attention_case("no batch", s, {0, 2, 2, 3, 3, 4}),
      attention_case("no queries", s, {1, 2, 2, 0, 3, 4}),
      attention_case("no keys", s, {1, 2, 2, 3, 0, 4}),
      attention_case("large", s, {1, 2, 1, 130, 140, 8}, {.causal = true, .scale = 0.25}, false),
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
      {[=] { attention(q, k, k, {.dropout = 1}); }, ErrorKind::Argument,
       "attention: dropout is 1, expected within [0, 1)"},
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

// ---- rotary embedding ----

constexpr double kTheta = 100;
constexpr int64_t kRotary = 4;

RopeTable table_for(const Tensor& x) {
  const DType dtype = x.dtype() == DType::Float64 ? DType::Float64 : DType::Float32;
  return rope_table(12, kRotary, kTheta, {}, dtype).to(x.device());
}

// Each pair turned by position theta^(-2 pair / rotary), as complex numbers are.
Tensor rope_reference(const Tensor& x, bool interleaved,
                      std::function<double(int64_t, int64_t)> position) {
  return naive::build(x.shape(), [&](const Index& i) {
    const int64_t d = i[3], half = kRotary / 2;
    if (d >= kRotary) return at(x, i);
    const int64_t pair = interleaved ? d / 2 : d % half;
    const bool first = interleaved ? d % 2 == 0 : d < half;
    Index other = i;
    other[3] = interleaved ? d ^ 1 : (d + half) % kRotary;
    const double angle = position(i[0], i[1]) * std::pow(kTheta, -2.0 * double(pair) / kRotary);
    return at(x, i) * std::cos(angle) + (first ? -1 : 1) * at(x, other) * std::sin(angle);
  });
}

std::vector<Case> rope_cases(Sampler& s) {
  const auto shifted = [](const std::string& label, const Tensor& x, bool interleaved,
                          bool gradcheck = true) {
    return Case{
        label,
        {x},
        [=](const Tensors& in) { return Tensors{rope(in[0], table_for(in[0]), 2, interleaved)}; },
        [=](const Tensors& in) {
          return Tensors{
              rope_reference(in[0], interleaved, [](int64_t, int64_t t) { return double(t + 2); })};
        },
        gradcheck};
  };
  const Tensor positions = from_values<int64_t>({3, 0, 11, 7, 7, 1}, {2, 3});
  return {shifted("halves", s({2, 3, 2, 6}), false),
          shifted("interleaved", s({2, 3, 2, 6}), true),
          shifted("all of the head", s({1, 2, 1, 4}), false),
          shifted("no tokens", s({2, 0, 2, 4}), false),
          shifted("large", s({10, 10, 8, 64}), false, false),
          {"own positions",
           {s({2, 3, 2, 6}), positions},
           [](const Tensors& in) { return Tensors{rope(in[0], table_for(in[0]), in[1])}; },
           [](const Tensors& in) {
             return Tensors{rope_reference(in[0], false, [&](int64_t b, int64_t t) {
               return at(in[1], {b, t});
             })};
           }}};
}

std::vector<ErrorCase> rope_errors() {
  const RopeTable table = rope_table(4, 4);
  const Tensor x = zeros({2, 3, 2, 4});
  return {
      {[=] {
         rope(zeros({3, 4}), table);
       },
       ErrorKind::Shape, "rope: x has shape [3, 4], expected [batch, time, heads, head_dim]"},
      {[=] { rope(x, table, 2); }, ErrorKind::Argument,
       "rope: positions 2 to 4 are needed, expected within the table's 4"},
      {[=] { rope(x, table, -1); }, ErrorKind::Argument, "rope: positions -1 to 1 are needed"},
      {[=] {
         rope(zeros({1, 1, 1, 2}), table);
       },
       ErrorKind::Shape, "rope: x has head_dim 2, expected at least the table's rotary_dim, 4"},
      {[=] { rope(x.to(DType::Float64), table); }, ErrorKind::DType,
       "rope: table is float32, expected float64 for an x of float64"},
      {[=] {
         rope(x, table, from_values<int64_t>({0, 1, 4, 0, 0, 0}, {2, 3}));
       },
       ErrorKind::Argument, "rope: positions 4 (element 2) is out of range for a size of 4"},
      {[=] { rope(x, table, from_values<int64_t>({0}, {1})); }, ErrorKind::Shape,
       "rope: positions has shape [1], expected [2, 3] (batch and time of x)"},
      {[=] { rope(x, RopeTable{}, 0); }, ErrorKind::Shape, "rope: table.cos is not a matrix"},
      {[] { rope_table(4, 3); }, ErrorKind::Argument,
       "rope_table: rotary_dim is 3, expected a positive even number"},
      {[] { rope_table(-1, 4); }, ErrorKind::Argument, "rope_table: positions is -1"},
      {[] { rope_table(4, 4, 0); }, ErrorKind::Argument, "rope_table: theta is 0"},
      {[] { rope_table(4, 4, 1e4, {.factor = 0}); }, ErrorKind::Argument,
       "rope_table: scaling has factor 0"},
      {[] { rope_table(4, 4, 1e4, {}, DType::BFloat16); }, ErrorKind::DType,
       "rope_table: got dtype bfloat16, takes float32, float64"},
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
      {.name = "rope",
       .cases = rope_cases,
       .errors = rope_errors(),
       .tolerance = {.units = 3, .gradient_units = 3}},
  };
}

}  // namespace plinth::op_table
