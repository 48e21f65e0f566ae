#include "kernels/attention/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <random>
#include <vector>

namespace plinth::kernels::cpu {
namespace {

using Strides = AttentionDesc::Strides;

// Memory order of q, k, v, out: [batch, seq, head, dim] (as projections leave them), [batch, head,
// seq, dim], or the former with gaps between rows.
enum class Order { SeqHead, HeadSeq, Gaps };

Strides strides(Order order, int64_t heads, int64_t length, int64_t dim) {
  if (order == Order::HeadSeq) return {heads * length * dim, length * dim, dim};
  const int64_t row = heads * dim * (order == Order::Gaps ? 3 : 1);
  return {length * row, dim, row};
}

struct Case {
  int64_t batch = 1, heads = 1, kv_heads = 1, q_len = 1, kv_len = 1, dim = 16;
  bool causal = false;
  int64_t window = 0;
  float dropout = 0;
  std::vector<int64_t> kv_lengths = {}, cu_q = {}, cu_k = {};
  Order order = Order::SeqHead;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "batch " << c.batch << " heads " << c.heads << "/" << c.kv_heads << " lengths " << c.q_len
       << "/" << c.kv_len << " dim " << c.dim << " causal " << c.causal << " window " << c.window
       << " dropout " << c.dropout << " padded " << !c.kv_lengths.empty() << " packed "
       << !c.cu_q.empty() << " order " << int(c.order);
}

template <class T>
std::vector<T> random(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(normal(generator));
  return values;
}

// One call's tensors. `whole` counts every element of a strided tensor, gaps included.
template <class T>
struct Tensors {
  AttentionDesc d;
  std::vector<T> q, k, v, out, dout, dq, dk, dv;
  std::vector<compute_t<T>> lse;

  explicit Tensors(const Case& c) {
    d.batch = c.batch;
    d.heads = c.heads;
    d.kv_heads = c.kv_heads;
    d.q_len = c.q_len;
    d.kv_len = c.kv_len;
    d.head_dim = c.dim;
    d.q = d.out = d.dq = d.dout = strides(c.order, c.heads, c.q_len, c.dim);
    d.k = d.v = d.dk = d.dv = strides(c.order, c.kv_heads, c.kv_len, c.dim);
    d.scale = 1 / std::sqrt(static_cast<float>(c.dim));
    d.causal = c.causal;
    d.window = c.window;
    d.dropout = c.dropout;
    d.philox = {7, 3, 11, 100};
    if (!c.kv_lengths.empty()) d.kv_lengths = c.kv_lengths.data();
    if (!c.cu_q.empty()) {
      d.cu_seqlens_q = c.cu_q.data();
      d.cu_seqlens_k = c.cu_k.data();
      d.sequences = static_cast<int64_t>(c.cu_q.size()) - 1;
    }
    const int64_t queries = c.batch * d.q.batch, keys = c.batch * d.k.batch;
    q = random<T>(queries, 1);
    k = random<T>(keys, 2);
    v = random<T>(keys, 3);
    dout = random<T>(queries, 4);
    out.resize(queries);
    dq.resize(queries);
    dk.resize(keys);
    dv.resize(keys);
    lse.resize(c.batch * c.heads * c.q_len);
  }
  void forward() { attention_forward(d, q.data(), k.data(), v.data(), out.data(), lse.data()); }
  void backward() {
    attention_backward(d, dout.data(), q.data(), k.data(), v.data(), out.data(), lse.data(),
                       dq.data(), dk.data(), dv.data());
  }
};

// The definition, in float64, of all outputs from T's inputs.
struct Reference {
  std::vector<double> out, lse, dq, dk, dv;
};

template <class T>
Reference reference(const Tensors<T>& t) {
  const AttentionDesc& d = t.d;
  Reference r;
  r.out.resize(t.q.size());
  r.dq.resize(t.q.size());
  r.dk.resize(t.k.size());
  r.dv.resize(t.k.size());
  r.lse.assign(t.lse.size(), -std::numeric_limits<double>::infinity());
  const int64_t problems = d.cu_seqlens_q ? d.sequences : d.batch;
  for (int64_t s = 0; s < problems; ++s) {
    const int64_t b = d.cu_seqlens_q ? 0 : s;
    const int64_t q0 = d.cu_seqlens_q ? d.cu_seqlens_q[s] : 0;
    const int64_t k0 = d.cu_seqlens_q ? d.cu_seqlens_k[s] : 0;
    const int64_t queries = d.cu_seqlens_q ? d.cu_seqlens_q[s + 1] - q0 : d.q_len;
    const int64_t keys = d.cu_seqlens_q ? d.cu_seqlens_k[s + 1] - k0 : d.kv_len;
    for (int64_t h = 0; h < d.heads; ++h) {
      const int64_t g = h / (d.heads / d.kv_heads);
      for (int64_t i = 0; i < queries; ++i) {
        const int64_t qi = b * d.q.batch + h * d.q.head + (q0 + i) * d.q.seq;
        const int64_t diagonal = i + keys - queries;
        std::vector<double> score(keys, -std::numeric_limits<double>::infinity()), keep(keys, 1);
        double total = 0;
        for (int64_t j = 0; j < keys; ++j) {
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          if (d.causal && j > diagonal) continue;
          if (d.window > 0 && (d.causal ? diagonal - j : std::abs(diagonal - j)) >= d.window)
            continue;
          if (d.kv_lengths && j >= d.kv_lengths[b]) continue;
          score[j] = 0;
          for (int64_t x = 0; x < d.head_dim; ++x)
            score[j] += double(d.scale) * double(t.q[qi + x]) * double(t.k[kj + x]);
          total += std::exp(score[j]);
          if (d.dropout > 0) {
            const int64_t block = (h * queries + i) * ((keys + 3) / 4) + j / 4;
            const float u = uniform(philox(d.philox, s, block)[j % 4]);
            keep[j] = u < d.dropout ? 0 : 1 / (1 - double(d.dropout));
          }
        }
        const double lse = std::log(total);
        r.lse[(b * d.heads + h) * d.q_len + q0 + i] = lse;
        if (total == 0) continue;
        double delta = 0;
        for (int64_t j = 0; j < keys; ++j) {
          const double p = std::exp(score[j] - lse);
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          for (int64_t x = 0; x < d.head_dim; ++x) {
            r.out[qi + x] += p * keep[j] * double(t.v[kj + x]);
            r.dv[kj + x] += p * keep[j] * double(t.dout[qi + x]);
          }
        }
        for (int64_t x = 0; x < d.head_dim; ++x) delta += r.out[qi + x] * double(t.dout[qi + x]);
        for (int64_t j = 0; j < keys; ++j) {
          const double p = std::exp(score[j] - lse);
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          double dp = 0;
          for (int64_t x = 0; x < d.head_dim; ++x)
            dp += keep[j] * double(t.dout[qi + x]) * double(t.v[kj + x]);
          const double ds = double(d.scale) * p * (dp - delta);
          for (int64_t x = 0; x < d.head_dim; ++x) {
            r.dq[qi + x] += ds * double(t.k[kj + x]);
            r.dk[kj + x] += ds * double(t.q[qi + x]);
          }
        }
      }
    }
  }
  return r;
}

template <class T>
double tolerance() {
  if (std::is_same_v<T, double>) return 1e-13;
  if (std::is_same_v<T, float>) return 5e-6;
  return std::is_same_v<T, BFloat16> ? 2e-2 : 3e-3;
}

// |got - expected| <= tolerance * (1 + the largest |expected|).
template <class T>
void expect_near(const char* name, const std::vector<T>& got, const std::vector<double>& expected,
                 double tolerance) {
  double most = 1;
  for (const double x : expected)
    if (std::isfinite(x)) most = std::max(most, std::fabs(x));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(double(got[i]), expected[i]) << name << " element " << i;
    } else {
      ASSERT_NEAR(double(got[i]), expected[i], tolerance * most) << name << " element " << i;
    }
  }
}

template <class T>
void expect_attention(const Case& c) {
  SCOPED_TRACE(::testing::PrintToString(c));
  Tensors<T> t(c);
  const Reference expected = reference(t);
  t.forward();
  expect_near("out", t.out, expected.out, tolerance<T>());
  expect_near("lse", t.lse, expected.lse, std::is_same_v<T, double> ? 1e-13 : 2e-6);
  t.backward();
  expect_near("dq", t.dq, expected.dq, tolerance<T>());
  expect_near("dk", t.dk, expected.dk, tolerance<T>());
  expect_near("dv", t.dv, expected.dv, tolerance<T>());
}

template <class T>
class Attention : public ::testing::Test {};
using Types = ::testing::Types<double, float, BFloat16, Float16>;
TYPED_TEST_SUITE(Attention, Types);

TYPED_TEST(Attention, MatchesTheDefinitionAtEveryRemainder) {
  for (const int64_t queries : {1, 5, 7, 49, 100})
    for (const int64_t keys : {1, 15, 33, 64, 130})
      expect_attention<TypeParam>(
          {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = queries, .kv_len = keys});
}

TYPED_TEST(Attention, TakesAnyHeadDim) {
  for (const int64_t dim : {1, 8, 15, 32, 64, 72, 80, 128})
    for (const int64_t queries : {2, 20})
      expect_attention<TypeParam>({.batch = 1, .q_len = queries, .kv_len = 70, .dim = dim});
}

TYPED_TEST(Attention, CausalIsAlignedToTheLastKey) {
  for (const int64_t queries : {1, 3, 40, 150})
    for (const int64_t keys : {1, 40, 66, 150})  // fewer keys than queries: the first see none
      expect_attention<TypeParam>({.q_len = queries, .kv_len = keys, .causal = true});
}

TYPED_TEST(Attention, WindowsSlide) {
  for (const bool causal : {false, true})
    for (const int64_t window : {1, 10, 64, 1000})
      for (const int64_t queries : {3, 100, 200})
        expect_attention<TypeParam>(
            {.q_len = queries, .kv_len = 150, .causal = causal, .window = window});
}

TYPED_TEST(Attention, PaddedKeysAreNotSeen) {
  for (const bool causal : {false, true})
    for (const int64_t queries : {2, 50})
      expect_attention<TypeParam>({.batch = 4,
                                   .heads = 2,
                                   .kv_heads = 1,
                                   .q_len = queries,
                                   .kv_len = 70,
                                   .causal = causal,
                                   .kv_lengths = {70, 0, 1, 37}});
}

TYPED_TEST(Attention, QueryHeadsShareKeys) {
  for (const int64_t kv_heads : {1, 2, 6})
    for (const int64_t queries : {1, 30})
      expect_attention<TypeParam>({.batch = 2,
                                   .heads = 6,
                                   .kv_heads = kv_heads,
                                   .q_len = queries,
                                   .kv_len = 40,
                                   .causal = true});
}

TYPED_TEST(Attention, DropoutFollowsPhilox) {
  for (const int64_t queries : {2, 60})
    expect_attention<TypeParam>({.batch = 2,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .q_len = queries,
                                 .kv_len = 67,
                                 .causal = true,
                                 .dropout = 0.3f});
}

TYPED_TEST(Attention, TakesAnyStrides) {
  for (const Order order : {Order::SeqHead, Order::HeadSeq, Order::Gaps})
    for (const int64_t queries : {2, 60})
      expect_attention<TypeParam>(
          {.batch = 2, .heads = 2, .kv_heads = 2, .q_len = queries, .kv_len = 70, .order = order});
}

TYPED_TEST(Attention, PackedSequencesSeeThemselves) {
  for (const bool causal : {false, true})
    for (const float dropout : {0.0f, 0.2f})
      expect_attention<TypeParam>({.heads = 2,
                                   .kv_heads = 2,
                                   .q_len = 120,
                                   .kv_len = 150,
                                   .causal = causal,
                                   .dropout = dropout,
                                   .cu_q = {0, 1, 1, 80, 120},
                                   .cu_k = {0, 7, 9, 110, 150}});
}

TYPED_TEST(Attention, EmptyDimensions) {
  expect_attention<TypeParam>({.batch = 0});
  expect_attention<TypeParam>({.q_len = 0, .kv_len = 5});
  expect_attention<TypeParam>({.q_len = 5, .kv_len = 0});
  expect_attention<TypeParam>({.q_len = 2, .kv_len = 0});
  expect_attention<TypeParam>({.q_len = 6, .kv_len = 5, .dim = 0});
  expect_attention<TypeParam>({.q_len = 2, .kv_len = 5, .dim = 0});
}

TYPED_TEST(Attention, LargeScoresDoNotOverflow) {
  Tensors<TypeParam> t({.heads = 1, .q_len = 30, .kv_len = 70});
  t.d.scale = 300;
  const Reference expected = reference<TypeParam>([&] {
    Tensors<TypeParam> small = t;
    return small;
  }());
  t.forward();
  for (const auto& value : t.out) ASSERT_TRUE(std::isfinite(double(value)));
  for (size_t i = 0; i < t.lse.size(); ++i) {
    if (std::isfinite(expected.lse[i])) {
      ASSERT_NEAR(double(t.lse[i]), expected.lse[i], 1e-4 * std::fabs(expected.lse[i]));
    }
  }
}

TYPED_TEST(Attention, BitsDependOnTheShapeOnly) {
  const Case c{.batch = 3, .heads = 4, .kv_heads = 2, .q_len = 130, .kv_len = 130, .causal = true};
  Tensors<TypeParam> one(c), three(c);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  one.forward();
  one.backward();
  omp_set_num_threads(3);
  three.forward();
  three.backward();
  omp_set_num_threads(threads);
  for (size_t i = 0; i < one.q.size(); ++i) {
    ASSERT_EQ(double(one.out[i]), double(three.out[i]));
    ASSERT_EQ(double(one.dq[i]), double(three.dq[i]));
  }
  for (size_t i = 0; i < one.k.size(); ++i) {
    ASSERT_EQ(double(one.dk[i]), double(three.dk[i]));
    ASSERT_EQ(double(one.dv[i]), double(three.dv[i]));
  }
}

}  // namespace
}  // namespace plinth::kernels::cpu
