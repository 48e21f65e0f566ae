#pragma once

// What the tests of the CPU's attention kernels share: a call's tensors, and the definition of
// kernels/attention/attention.h in float64.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/custom.h"

namespace plinth::kernels::cpu {

// Memory order of q, k, v, out: [batch, seq, head, dim] (as projections leave them), [batch, head,
// seq, dim], or the former with gaps between rows.
enum class Order { SeqHead, HeadSeq, Gaps };

inline AttentionDesc::Strides strides(Order order, int64_t heads, int64_t length, int64_t dim) {
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
  float soft_cap = 0;
  bool alibi = false, sinks = false, dlse = false;
  // The dimensions, of [batch, heads, queries, keys], that bias has; in the others it is broadcast.
  std::string bias = "";
  int64_t bias_step = 1;  // elements from a key to the next
};

inline void PrintTo(const Case& c, std::ostream* out) {
  *out << "batch " << c.batch << " heads " << c.heads << "/" << c.kv_heads << " lengths " << c.q_len
       << "/" << c.kv_len << " dim " << c.dim << " causal " << c.causal << " window " << c.window
       << " dropout " << c.dropout << " padded " << !c.kv_lengths.empty() << " packed "
       << !c.cu_q.empty() << " order " << int(c.order) << " soft_cap " << c.soft_cap << " alibi "
       << c.alibi << " sinks " << c.sinks << " dlse " << c.dlse << " bias " << c.bias;
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
  std::vector<T> q, k, v, out, dout, dq, dk, dv, bias, dbias;
  std::vector<compute_t<T>> lse, slopes, sinks, dlse, dsinks;
  int64_t bias_step = 1;

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
    d.soft_cap = c.soft_cap;
    const auto given = [](auto& values, int64_t count, uint32_t seed, auto& pointer) {
      values = random<std::remove_reference_t<decltype(values[0])>>(count, seed);
      pointer = values.data();
    };
    if (c.alibi) given(slopes, c.heads, 5, d.alibi_slopes);
    // Negative ones raise the scores of far keys, whose rounding grows with them.
    for (auto& slope : slopes) slope /= 4;
    if (c.sinks) given(sinks, c.heads, 6, d.sinks), given(dsinks, c.heads, 7, d.dsinks);
    if (c.dlse) given(dlse, c.batch * c.heads * c.q_len, 8, d.dlse);
    if (c.bias.empty()) return;
    int64_t count = bias_step = c.bias_step;
    const auto stride = [&](char name, int64_t size) {
      return c.bias.find(name) == std::string::npos ? 0 : std::exchange(count, count * size);
    };
    d.bias_strides.key = stride('k', c.kv_len);
    d.bias_strides.query = stride('q', c.q_len);
    d.bias_strides.head = stride('h', c.heads);
    d.bias_strides.batch = stride('b', c.batch);
    d.dbias_strides = d.bias_strides;
    given(bias, count, 9, d.bias);
    given(dbias, count, 10, d.dbias);
  }
  void forward() { attention_forward(d, q.data(), k.data(), v.data(), out.data(), lse.data()); }
  void backward() {
    attention_backward(d, dout.data(), q.data(), k.data(), v.data(), out.data(), lse.data(),
                       dq.data(), dk.data(), dv.data());
  }
};

// The definition, in float64, of all outputs from T's inputs.
struct Reference {
  std::vector<double> out, lse, dq, dk, dv, dbias, dsinks;
};

template <class C>
double element(const std::vector<C>& values, int64_t i) {
  return values.empty() ? 0 : double(values[i]);
}

// A functor that changes nothing.
struct AsTheyAre {
  bool visible(const AttentionPair&) const { return true; }
  double score(double x, const AttentionPair&) const { return x; }
  double slope(double, const AttentionPair&) const { return 1; }
};

// With the caller's own mask and scores (kernels/attention/custom.h).
template <class T, class F = AsTheyAre>
Reference reference(const Tensors<T>& t, const F& functor = {}) {
  const AttentionDesc& d = t.d;
  Reference r;
  r.out.resize(t.q.size());
  r.dq.resize(t.q.size());
  r.dk.resize(t.k.size());
  r.dv.resize(t.k.size());
  r.lse.assign(t.lse.size(), -std::numeric_limits<double>::infinity());
  r.dbias.resize(t.bias.size());
  r.dsinks.resize(t.sinks.size());
  // What lies between the elements stays as it was.
  for (int64_t i = 0; i < std::ssize(t.bias); ++i)
    r.dbias[i] = i % t.bias_step == 0 ? 0 : double(t.dbias[i]);
  const AttentionDesc::BiasStrides& s_bias = d.bias_strides;
  const auto bias_at = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    return b * s_bias.batch + h * s_bias.head + i * s_bias.query + j * s_bias.key;
  };
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
        std::vector<double> bend(keys);  // d score / d x
        double total = t.sinks.empty() ? 0 : std::exp(double(t.sinks[h]));
        for (int64_t j = 0; j < keys; ++j) {
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          if (d.causal && j > diagonal) continue;
          if (d.window > 0 && (d.causal ? diagonal - j : std::abs(diagonal - j)) >= d.window)
            continue;
          if (d.kv_lengths && j >= d.kv_lengths[b]) continue;
          const AttentionPair at{s, h, i, j, queries, keys};
          if (!functor.visible(at)) continue;
          score[j] = 0;
          for (int64_t x = 0; x < d.head_dim; ++x)
            score[j] += double(d.scale) * double(t.q[qi + x]) * double(t.k[kj + x]);
          const double slope = functor.slope(score[j], at);
          score[j] = functor.score(score[j], at);
          const double bent = d.soft_cap > 0 ? std::tanh(score[j] / d.soft_cap) : 0;
          bend[j] = slope * (1 - bent * bent);
          if (d.soft_cap > 0) score[j] = d.soft_cap * bent;
          score[j] -= element(t.slopes, h) * double(std::abs(diagonal - j));
          score[j] += element(t.bias, bias_at(b, h, i, j));
          total += std::exp(score[j]);
          if (d.dropout > 0) {
            const int64_t block = (h * queries + i) * ((keys + 3) / 4) + j / 4;
            const float u = uniform(philox(d.philox, s, block)[j % 4]);
            keep[j] = u < d.dropout ? 0 : 1 / (1 - double(d.dropout));
          }
        }
        const double lse = std::log(total);
        const int64_t row = (b * d.heads + h) * d.q_len + q0 + i;
        r.lse[row] = lse;
        if (total == 0) continue;
        double delta = -element(t.dlse, row);
        for (int64_t j = 0; j < keys; ++j) {
          const double p = std::exp(score[j] - lse);
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          for (int64_t x = 0; x < d.head_dim; ++x) {
            r.out[qi + x] += p * keep[j] * double(t.v[kj + x]);
            r.dv[kj + x] += p * keep[j] * double(t.dout[qi + x]);
          }
        }
        for (int64_t x = 0; x < d.head_dim; ++x) delta += r.out[qi + x] * double(t.dout[qi + x]);
        if (!t.sinks.empty()) r.dsinks[h] -= std::exp(double(t.sinks[h]) - lse) * delta;
        for (int64_t j = 0; j < keys; ++j) {
          const double p = std::exp(score[j] - lse);
          const int64_t kj = b * d.k.batch + g * d.k.head + (k0 + j) * d.k.seq;
          double dp = 0;
          for (int64_t x = 0; x < d.head_dim; ++x)
            dp += keep[j] * double(t.dout[qi + x]) * double(t.v[kj + x]);
          if (!t.bias.empty() && p > 0) r.dbias[bias_at(b, h, i, j)] += p * (dp - delta);
          const double ds = double(d.scale) * p * (dp - delta) * bend[j];
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

template <class T, class F>
void expect_results(Tensors<T>& t, const F& functor) {
  const Reference expected = reference(t, functor);
  t.forward();
  expect_near("out", t.out, expected.out, tolerance<T>());
  expect_near("lse", t.lse, expected.lse, std::is_same_v<T, double> ? 1e-13 : 2e-6);
  t.backward();
  expect_near("dq", t.dq, expected.dq, tolerance<T>());
  expect_near("dk", t.dk, expected.dk, tolerance<T>());
  expect_near("dv", t.dv, expected.dv, tolerance<T>());
  // Each term of a sum has the rounding of the same out in its delta.
  expect_near("dbias", t.dbias, expected.dbias, 3 * tolerance<T>());
  expect_near("dsinks", t.dsinks, expected.dsinks, tolerance<T>());
}

template <class T>
void expect_attention(const Case& c) {
  SCOPED_TRACE(::testing::PrintToString(c));
  Tensors<T> t(c);
  expect_results(t, AsTheyAre{});
}

using AttentionTypes = ::testing::Types<double, float, BFloat16, Float16>;

}  // namespace plinth::kernels::cpu
