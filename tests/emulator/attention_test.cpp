#include "kernels/attention/attention_cuda.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct AttentionCase {
  const char* name;
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim;
  bool causal = false;
  int64_t window = 0;
  float dropout = 0;
  cpu::DropoutWhole whole = {};
  std::vector<int64_t> kv_lengths = {};
  std::vector<int64_t> cu_seqlens_q = {}, cu_seqlens_k = {};
  int64_t gap = 0;    // elements between the heads of a token
  int64_t shift = 0;  // of q, in elements beyond a 16-byte boundary
  float soft_cap = 0;
  bool alibi = false, sinks = false, dlse = false;
  bool no_first_sink = false;  // that of head 0 is -inf
  // The dimensions, of [batch, heads, queries, keys], that bias has; in the others it is broadcast.
  std::string bias = "";
};

const AttentionCase kAttentionCases[] = {
    {.name = "one key",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 1,
     .kv_len = 1,
     .head_dim = 8},
    {.name = "full",
     .batch = 2,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 37,
     .kv_len = 45,
     .head_dim = 16},
    {.name = "causal",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 70,
     .kv_len = 70,
     .head_dim = 8,
     .causal = true},
    {.name = "causal, queries after keys",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 9,
     .kv_len = 50,
     .head_dim = 8,
     .causal = true},
    {.name = "causal, queries before all keys",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 50,
     .kv_len = 9,
     .head_dim = 8,
     .causal = true},
    {.name = "window",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 80,
     .kv_len = 80,
     .head_dim = 8,
     .causal = true,
     .window = 5},
    {.name = "window on both sides",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 66,
     .kv_len = 75,
     .head_dim = 8,
     .window = 7},
    {.name = "grouped queries",
     .batch = 2,
     .heads = 6,
     .kv_heads = 2,
     .q_len = 11,
     .kv_len = 11,
     .head_dim = 8,
     .causal = true},
    {.name = "padding",
     .batch = 4,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 12,
     .kv_len = 40,
     .head_dim = 8,
     .kv_lengths = {33, 40, 0, 7}},
    {.name = "packed",
     .batch = 1,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 60,
     .kv_len = 77,
     .head_dim = 8,
     .causal = true,
     .cu_seqlens_q = {0, 3, 3, 41, 60},
     .cu_seqlens_k = {0, 5, 9, 50, 77}},
    {.name = "dropout",
     .batch = 2,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 10,
     .kv_len = 42,
     .head_dim = 8,
     .dropout = 0.3f},
    {.name = "dropout of a part",
     .batch = 2,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 10,
     .kv_len = 42,
     .head_dim = 8,
     .dropout = 0.3f,
     .whole = {.head = 3, .query = 7, .key = 8, .queries = 19, .keys = 61}},
    {.name = "packed with dropout",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 40,
     .kv_len = 40,
     .head_dim = 8,
     .causal = true,
     .dropout = 0.25f,
     .cu_seqlens_q = {0, 33, 40},
     .cu_seqlens_k = {0, 33, 40}},
    {.name = "odd head_dim",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 7,
     .kv_len = 33,
     .head_dim = 13},
    {.name = "head_dim 80",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 5,
     .kv_len = 34,
     .head_dim = 80,
     .gap = 8},
    {.name = "head_dim 256",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 3,
     .kv_len = 33,
     .head_dim = 256,
     .causal = true},
    {.name = "strides of no whole vector",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 6,
     .kv_len = 6,
     .head_dim = 16,
     .gap = 3},
    {.name = "misaligned",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 6,
     .kv_len = 6,
     .head_dim = 16,
     .shift = 1},
    {.name = "no keys",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 5,
     .kv_len = 0,
     .head_dim = 8},
    {.name = "no queries",
     .batch = 1,
     .heads = 1,
     .kv_heads = 1,
     .q_len = 0,
     .kv_len = 5,
     .head_dim = 8,
     .sinks = true,
     .bias = "hk"},
    {.name = "soft cap",
     .batch = 1,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 9,
     .kv_len = 40,
     .head_dim = 8,
     .causal = true,
     .soft_cap = 1.5f},
    {.name = "ALiBi, packed",
     .batch = 1,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 12,
     .kv_len = 40,
     .head_dim = 8,
     .cu_seqlens_q = {0, 7, 12},
     .cu_seqlens_k = {0, 35, 40},
     .alibi = true},
    {.name = "sinks",
     .batch = 2,
     .heads = 4,
     .kv_heads = 2,
     .q_len = 9,
     .kv_len = 5,
     .head_dim = 8,
     .causal = true,
     .sinks = true,
     .dlse = true},
    {.name = "a sink of -inf, queries before all keys",
     .batch = 1,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 30,
     .kv_len = 9,
     .head_dim = 8,
     .causal = true,
     .sinks = true,
     .no_first_sink = true},
    {.name = "gradient of lse",
     .batch = 2,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 5,
     .kv_len = 35,
     .head_dim = 8,
     .dlse = true},
    {.name = "bias",
     .batch = 2,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 33,
     .kv_len = 9,
     .head_dim = 8,
     .causal = true,
     .bias = "bhqk"},
    {.name = "bias of heads",
     .batch = 2,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 9,
     .kv_len = 35,
     .head_dim = 8,
     .window = 9,
     .dropout = 0.2f,
     .soft_cap = 2,
     .sinks = true,
     .bias = "hqk"},
    {.name = "bias of keys",
     .batch = 3,
     .heads = 2,
     .kv_heads = 1,
     .q_len = 33,
     .kv_len = 9,
     .head_dim = 13,
     .kv_lengths = {7, 0, 9},
     .bias = "bk"},
    {.name = "bias of queries",
     .batch = 2,
     .heads = 2,
     .kv_heads = 2,
     .q_len = 9,
     .kv_len = 35,
     .head_dim = 8,
     .causal = true,
     .alibi = true,
     .bias = "q"},
};

// A description, with tokens before heads in memory, whose arrays are the caller's.
AttentionDesc describe(const AttentionCase& c, const int64_t* kv_lengths, const int64_t* cu_q,
                       const int64_t* cu_k) {
  const int64_t pitch = c.head_dim + c.gap;
  const AttentionDesc::Strides q{c.q_len * c.heads * pitch, pitch, c.heads * pitch};
  const AttentionDesc::Strides k{c.kv_len * c.kv_heads * pitch, pitch, c.kv_heads * pitch};
  AttentionDesc d;
  d.batch = c.batch, d.heads = c.heads, d.kv_heads = c.kv_heads;
  d.q_len = c.q_len, d.kv_len = c.kv_len, d.head_dim = c.head_dim;
  d.q = d.out = d.dq = d.dout = q;
  d.k = d.v = d.dk = d.dv = k;
  d.scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  d.causal = c.causal, d.window = c.window;
  d.kv_lengths = kv_lengths, d.cu_seqlens_q = cu_q, d.cu_seqlens_k = cu_k;
  d.sequences = static_cast<int64_t>(c.cu_seqlens_q.size()) - 1;
  d.dropout = c.dropout, d.philox = {9, 3, 1, 1000}, d.dropout_whole = c.whole;
  return d;
}

// An array on the device, and null where it is empty.
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<int64_t>& values)
      : buffer_(static_cast<int64_t>(values.size())), empty_(values.empty()) {
    buffer_.copy_from(values);
  }
  const int64_t* data() const { return empty_ ? nullptr : buffer_.data(); }

 private:
  Buffer<int64_t> buffer_;
  bool empty_;
};

const int64_t* host_array(const std::vector<int64_t>& values) {
  return values.empty() ? nullptr : values.data();
}

// What bends scores, of C or T, and the gradients of it; with its strides.
template <class C, class T>
struct Extras {
  AttentionDesc::BiasStrides strides;
  Buffer<C> slopes, sinks, dlse, dsinks;
  Buffer<T> bias, dbias;

  explicit Extras(const AttentionCase& c)
      : slopes(c.heads),
        sinks(c.heads),
        dlse(c.batch * c.heads * c.q_len),
        dsinks(c.heads),
        bias(elements(c, strides)),
        dbias(elements(c, strides)) {}

  void describe(const AttentionCase& c, AttentionDesc& d) {
    d.soft_cap = c.soft_cap;
    d.bias_strides = d.dbias_strides = strides;
    if (c.alibi) d.alibi_slopes = slopes.data();
    if (c.sinks) d.sinks = sinks.data(), d.dsinks = dsinks.data();
    if (c.dlse) d.dlse = dlse.data();
    if (!c.bias.empty()) d.bias = bias.data(), d.dbias = dbias.data();
  }

 private:
  static int64_t elements(const AttentionCase& c, AttentionDesc::BiasStrides& strides) {
    int64_t count = 1;
    const auto stride = [&](char name, int64_t size) {
      return c.bias.find(name) == std::string::npos ? 0 : std::exchange(count, count * size);
    };
    strides.key = stride('k', c.kv_len);
    strides.query = stride('q', c.q_len);
    strides.head = stride('h', c.heads);
    strides.batch = stride('b', c.batch);
    return count;
  }
};

// The same numbers in float64.
template <class A, class B>
void copy_values(Buffer<A>& from, Buffer<B>& to) {
  const std::vector<double> values = from.values();
  for (size_t i = 0; i < values.size(); ++i) to[static_cast<int64_t>(i)] = B(values[i]);
}

// Both passes against the CPU's float64 kernels, on the numbers that T holds.
template <class T>
void expect_attention(const AttentionCase& c) {
  SCOPED_TRACE(c.name);
  using C = compute_t<T>;
  const DeviceArray kv_lengths(c.kv_lengths), cu_q(c.cu_seqlens_q), cu_k(c.cu_seqlens_k);
  AttentionDesc d = describe(c, kv_lengths.data(), cu_q.data(), cu_k.data());
  Extras<C, T> extras(c);
  extras.describe(c, d);
  const int64_t queries = c.batch * d.q.batch, keys = c.batch * d.k.batch;
  const int64_t rows = c.batch * c.heads * c.q_len;
  Buffer<T> q(queries, c.shift), k(keys), v(keys), out(queries), dout(queries), dq(queries),
      dk(keys), dv(keys);
  Buffer<C> lse(rows);
  Buffer<uint8_t> workspace(attention_backward_workspace<T>(d));
  uint64_t seed = 0;
  // What lies between the heads is the same in results and their references.
  for (auto* buffer : {&q, &k, &v, &dout, &out, &dq, &dk, &dv}) buffer->fill_random(++seed);
  for (auto* buffer : {&extras.slopes, &extras.sinks, &extras.dlse}) buffer->fill_random(++seed);
  extras.bias.fill_random(++seed);
  if (c.no_first_sink) extras.sinks[0] = -std::numeric_limits<C>::infinity();
  std::vector<double> out64 = out.values(), dq64 = dq.values(), dk64 = dk.values(),
                      dv64 = dv.values(), lse64(rows);
  attention_forward<T>(nullptr, d, q.data(), k.data(), v.data(), out.data(), lse.data());
  attention_backward<T>(nullptr, d, dout.data(), q.data(), k.data(), v.data(), out.data(),
                        lse.data(), dq.data(), dk.data(), dv.data(), workspace.data());

  AttentionDesc host =
      describe(c, host_array(c.kv_lengths), host_array(c.cu_seqlens_q), host_array(c.cu_seqlens_k));
  Extras<double, double> extras64(c);
  extras64.describe(c, host);
  copy_values(extras.slopes, extras64.slopes);
  copy_values(extras.sinks, extras64.sinks);
  copy_values(extras.dlse, extras64.dlse);
  copy_values(extras.bias, extras64.bias);
  const std::vector<double> q64 = q.values(), k64 = k.values(), v64 = v.values();
  const std::vector<double> dout64 = dout.values();
  cpu::attention_forward<double>(host, q64.data(), k64.data(), v64.data(), out64.data(),
                                 lse64.data());
  expect_close<T>(out.values(), out64, 2);
  for (int64_t i = 0; i < rows; ++i) {
    if (std::isinf(lse64[i])) {
      ASSERT_EQ(lse[i], lse64[i]) << i;
    } else {
      ASSERT_NEAR(lse[i], lse64[i], 16 * rounding<C>() * std::max(1.0, std::fabs(lse64[i]))) << i;
    }
  }
  const std::vector<double> rounded_out = out.values();
  cpu::attention_backward<double>(host, dout64.data(), q64.data(), k64.data(), v64.data(),
                                  rounded_out.data(), lse64.data(), dq64.data(), dk64.data(),
                                  dv64.data());
  expect_close<T>(dq.values(), dq64, 8);
  expect_close<T>(dk.values(), dk64, 8);
  expect_close<T>(dv.values(), dv64, 8);
  if (d.dbias) expect_close<T>(extras.dbias.values(), extras64.dbias.values(), 16);
  if (d.dsinks) expect_close<C>(extras.dsinks.values(), extras64.dsinks.values(), 64);
}

template <class T>
void expect_all_attention() {
  for (const AttentionCase& c : kAttentionCases) expect_attention<T>(c);
}

TEST(AttentionKernel, Float32MatchesFloat64) {
  expect_all_attention<float>();
}
TEST(AttentionKernel, BFloat16MatchesFloat64) {
  expect_all_attention<BFloat16>();
}
TEST(AttentionKernel, Float16MatchesFloat64) {
  expect_all_attention<Float16>();
}
TEST(AttentionKernel, Float64MatchesFloat64) {
  expect_all_attention<double>();
}
// With the kernels that other GPUs than Hopper take.
TEST(AttentionKernel, SixteenBitsMatchFloat64OnAnA100) {
  const int before = std::exchange(device::device_limits().capability, 80);
  expect_all_attention<BFloat16>();
  expect_all_attention<Float16>();
  device::device_limits().capability = before;
}

TEST(AttentionKernel, SameBitsInEveryOrderOfThreads) {
  const AttentionCase c{.name = "",
                        .batch = 1,
                        .heads = 4,
                        .kv_heads = 2,
                        .q_len = 40,
                        .kv_len = 40,
                        .head_dim = 8,
                        .causal = true,
                        .dropout = 0.1f,
                        .sinks = true,
                        .bias = "hk"};
  const auto gradients = [&](uint64_t seed) {
    device::emulation_seed() = seed;
    AttentionDesc d = describe(c, nullptr, nullptr, nullptr);
    Extras<float, float> extras(c);
    extras.describe(c, d);
    extras.sinks.fill_random(4);
    extras.bias.fill_random(5);
    const int64_t queries = d.q.batch, keys = d.k.batch;
    Buffer<float> q(queries), k(keys), v(keys), out(queries), lse(160), dq(queries), dk(keys),
        dv(keys);
    Buffer<uint8_t> workspace(attention_backward_workspace<float>(d));
    uint64_t number = 0;
    for (auto* buffer : {&q, &k, &v}) buffer->fill_random(++number);
    attention_forward<float>(nullptr, d, q.data(), k.data(), v.data(), out.data(), lse.data());
    attention_backward<float>(nullptr, d, out.data(), q.data(), k.data(), v.data(), out.data(),
                              lse.data(), dq.data(), dk.data(), dv.data(), workspace.data());
    return std::vector{dq.values(),  dk.values(),           dv.values(),
                       lse.values(), extras.dbias.values(), extras.dsinks.values()};
  };
  EXPECT_EQ(gradients(1), gradients(2));
}

}  // namespace
}  // namespace plinth::kernels::cuda
