#include "kernels/attention/decode/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/attention/paged_attention_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct DecodeCase {
  const char* name;
  int64_t heads, kv_heads, q_len, head_dim;
  std::vector<int64_t> lengths;  // of the sequences
  int64_t room = 0;              // keys of the cache; 0: the longest length
  bool causal = true;
  int64_t window = 0;
  float soft_cap = 0;
  bool slopes = false, bias = false, sinks = false;
  bool no_first_sink = false;  // that of head 0 is -inf
  int64_t gap = 0;             // elements between the heads of a token
};

// A split has 256 keys, a tile 64 to 8.
const DecodeCase kDecodeCases[] = {
    {.name = "one key", .heads = 1, .kv_heads = 1, .q_len = 1, .head_dim = 8, .lengths = {1}},
    {.name = "one split", .heads = 2, .kv_heads = 2, .q_len = 1, .head_dim = 16, .lengths = {77}},
    {.name = "several splits, a group of 4",
     .heads = 4,
     .kv_heads = 1,
     .q_len = 1,
     .head_dim = 24,
     .lengths = {531}},
    {.name = "whole splits",
     .heads = 1,
     .kv_heads = 1,
     .q_len = 2,
     .head_dim = 8,
     .lengths = {512}},
    {.name = "lengths",
     .heads = 2,
     .kv_heads = 2,
     .q_len = 1,
     .head_dim = 8,
     .lengths = {0, 300, 256, 3},
     .room = 600},
    {.name = "lengths in one split",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 2,
     .head_dim = 8,
     .lengths = {5, 0},
     .room = 40},
    {.name = "a group of 8 with 3 queries, causal",
     .heads = 8,
     .kv_heads = 1,
     .q_len = 3,
     .head_dim = 8,
     .lengths = {270}},
    {.name = "more rows than a block has",
     .heads = 8,
     .kv_heads = 1,
     .q_len = 9,
     .head_dim = 8,
     .lengths = {65},
     .causal = true},
    {.name = "queries before all keys",
     .heads = 1,
     .kv_heads = 1,
     .q_len = 7,
     .head_dim = 8,
     .lengths = {3}},
    {.name = "full",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 4,
     .head_dim = 8,
     .lengths = {33},
     .causal = false},
    {.name = "window over two splits",
     .heads = 2,
     .kv_heads = 2,
     .q_len = 3,
     .head_dim = 8,
     .lengths = {540},
     .window = 40},
    {.name = "window on both sides",
     .heads = 1,
     .kv_heads = 1,
     .q_len = 5,
     .head_dim = 8,
     .lengths = {300},
     .causal = false,
     .window = 4},
    {.name = "soft cap",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 2,
     .head_dim = 8,
     .lengths = {60},
     .soft_cap = 1.5f},
    {.name = "slopes",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 2,
     .head_dim = 8,
     .lengths = {60},
     .slopes = true},
    {.name = "bias",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 2,
     .head_dim = 8,
     .lengths = {60},
     .bias = true},
    {.name = "sinks",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 1,
     .head_dim = 8,
     .lengths = {300, 0},
     .sinks = true},
    {.name = "a sink of -inf",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 7,
     .head_dim = 8,
     .lengths = {300, 0, 3},
     .sinks = true,
     .no_first_sink = true},
    {.name = "everything",
     .heads = 6,
     .kv_heads = 2,
     .q_len = 3,
     .head_dim = 8,
     .lengths = {290},
     .window = 100,
     .soft_cap = 2,
     .slopes = true,
     .bias = true,
     .sinks = true},
    {.name = "head_dim 80",
     .heads = 2,
     .kv_heads = 2,
     .q_len = 1,
     .head_dim = 80,
     .lengths = {34},
     .gap = 8},
    {.name = "head_dim 104",
     .heads = 1,
     .kv_heads = 1,
     .q_len = 3,
     .head_dim = 104,
     .lengths = {70}},
    {.name = "head_dim 128",
     .heads = 20,
     .kv_heads = 1,
     .q_len = 1,
     .head_dim = 128,
     .lengths = {66}},
    {.name = "head_dim 256",
     .heads = 2,
     .kv_heads = 1,
     .q_len = 1,
     .head_dim = 256,
     .lengths = {35}},
    {.name = "no queries", .heads = 1, .kv_heads = 1, .q_len = 0, .head_dim = 8, .lengths = {5}},
};

int64_t room_of(const DecodeCase& c) {
  return c.room > 0 ? c.room : *std::max_element(c.lengths.begin(), c.lengths.end());
}

// The tensors of a case on the device: a cache with tokens before heads, of which rows that no
// sequence has are NaN.
template <class T>
struct DecodeProblem {
  using C = compute_t<T>;
  AttentionDesc d;
  Buffer<T> q, k, v, out, bias;
  Buffer<C> lse, slopes, sinks;
  Buffer<int64_t> lengths;

  explicit DecodeProblem(const DecodeCase& c)
      : q(batch(c) * c.q_len * c.heads * pitch(c)),
        k(batch(c) * room_of(c) * c.kv_heads * pitch(c)),
        v(batch(c) * room_of(c) * c.kv_heads * pitch(c)),
        out(batch(c) * c.q_len * c.heads * pitch(c)),
        bias(c.heads * c.q_len * room_of(c)),
        lse(batch(c) * c.heads * c.q_len),
        slopes(c.heads),
        sinks(c.heads),
        lengths(batch(c)) {
    d.batch = batch(c), d.heads = c.heads, d.kv_heads = c.kv_heads;
    d.q_len = c.q_len, d.kv_len = room_of(c), d.head_dim = c.head_dim;
    d.q = d.out = {c.q_len * c.heads * pitch(c), pitch(c), c.heads * pitch(c)};
    d.k = d.v = {room_of(c) * c.kv_heads * pitch(c), pitch(c), c.kv_heads * pitch(c)};
    d.scale = 1 / std::sqrt(static_cast<double>(c.head_dim)), d.causal = c.causal,
    d.window = c.window, d.soft_cap = c.soft_cap;
    uint64_t seed = 0;
    for (auto* buffer : {&q, &k, &v, &out, &bias}) buffer->fill_random(++seed);
    for (auto* buffer : {&slopes, &sinks}) buffer->fill_random(++seed);
    for (int64_t h = 0; h < c.heads; ++h) slopes[h] = C(0.05) * std::abs(slopes[h]);
    if (c.no_first_sink) sinks[0] = -std::numeric_limits<C>::infinity();
    lengths.copy_from(c.lengths);
    d.kv_lengths = lengths.data();
    if (c.slopes) d.alibi_slopes = slopes.data();
    if (c.sinks) d.sinks = sinks.data();
    if (c.bias) d.bias = bias.data(), d.bias_strides = {0, c.q_len * d.kv_len, d.kv_len, 1};
    const T nan(std::numeric_limits<float>::quiet_NaN());
    for (int64_t b = 0; b < d.batch; ++b)
      for (int64_t x = c.lengths[b] * d.k.seq; x < d.k.batch; ++x)
        k[b * d.k.batch + x] = v[b * d.k.batch + x] = nan;
  }

  static int64_t batch(const DecodeCase& c) { return static_cast<int64_t>(c.lengths.size()); }
  static int64_t pitch(const DecodeCase& c) { return c.head_dim + c.gap; }

  void run() {
    Buffer<uint8_t> workspace(static_cast<int64_t>(attention::decode_workspace<T>(d)));
    ASSERT_TRUE(attention::decode_takes<T>(d));
    attention::decode_forward<T>(nullptr, d, q.data(), k.data(), v.data(), out.data(), lse.data(),
                                 workspace.data());
  }
};

// out and lse of one query, from attention.h.
struct Expected {
  std::vector<double> out;
  double lse;
};
template <class T>
Expected decode_reference(DecodeProblem<T>& p, int64_t b, int64_t h, int64_t i, int64_t kv_len) {
  const AttentionDesc& d = p.d;
  const auto element = [](Buffer<T>& x, int64_t at) { return double(compute_t<T>(x[at])); };
  const int64_t q_row = b * d.q.batch + h * d.q.head + i * d.q.seq;
  const auto kv_row = [&](int64_t j) {
    return b * d.k.batch + h / (d.heads / d.kv_heads) * d.k.head + j * d.k.seq;
  };
  const int64_t beside = i + kv_len - d.q_len;
  Expected result{std::vector<double>(d.head_dim), 0};
  double total = d.sinks ? std::exp(double(p.sinks[h])) : 0;
  for (int64_t j = 0; j < p.lengths[b]; ++j) {
    if (d.causal && j > beside) continue;
    if (d.window > 0 && std::abs(beside - j) >= d.window) continue;
    double score = 0;
    for (int64_t x = 0; x < d.head_dim; ++x)
      score += d.scale * element(p.q, q_row + x) * element(p.k, kv_row(j) + x);
    if (d.soft_cap > 0) score = d.soft_cap * std::tanh(score / d.soft_cap);
    if (d.alibi_slopes) score -= double(p.slopes[h]) * double(std::abs(beside - j));
    if (d.bias) score += element(p.bias, (h * d.q_len + i) * d.kv_len + j);
    const double weight = std::exp(score);
    total += weight;
    for (int64_t x = 0; x < d.head_dim; ++x) result.out[x] += weight * element(p.v, kv_row(j) + x);
  }
  for (double& x : result.out) x = total > 0 ? x / total : 0;
  result.lse = std::log(total);
  return result;
}

template <class T>
void expect_reference(DecodeProblem<T>& p, bool own_lengths) {
  const AttentionDesc& d = p.d;
  const std::vector<double> out = p.out.values();
  for (int64_t b = 0; b < d.batch; ++b) {
    for (int64_t h = 0; h < d.heads; ++h) {
      for (int64_t i = 0; i < d.q_len; ++i) {
        SCOPED_TRACE(testing::Message() << "batch " << b << " head " << h << " query " << i);
        const Expected e = decode_reference(p, b, h, i, own_lengths ? p.lengths[b] : d.kv_len);
        const int64_t at = b * d.out.batch + h * d.out.head + i * d.out.seq;
        expect_close<T>({out.begin() + at, out.begin() + at + d.head_dim}, e.out, 3);
        const double lse = p.lse[(b * d.heads + h) * d.q_len + i];
        if (std::isinf(e.lse)) {
          ASSERT_EQ(lse, e.lse);
        } else {
          ASSERT_NEAR(lse, e.lse, 16 * rounding<compute_t<T>>() * std::max(1.0, std::abs(e.lse)));
        }
      }
    }
  }
}

template <class T>
void expect_all_decoded() {
  for (const DecodeCase& c : kDecodeCases) {
    SCOPED_TRACE(c.name);
    DecodeProblem<T> p(c);
    p.run();
    expect_reference(p, false);
  }
}

TEST(AttentionDecodeKernel, Float32MatchesFloat64) {
  expect_all_decoded<float>();
}
TEST(AttentionDecodeKernel, BFloat16MatchesFloat64) {
  expect_all_decoded<BFloat16>();
}
TEST(AttentionDecodeKernel, Float16MatchesFloat64) {
  expect_all_decoded<Float16>();
}
TEST(AttentionDecodeKernel, Float64MatchesFloat64) {
  expect_all_decoded<double>();
}

// The same sequences in a pool of pages, in an order that the seed draws, of which rows that no
// sequence has are NaN, and entries that none uses lead nowhere.
template <class T, class Entry>
struct Paged {
  PagedAttentionDesc d;
  Buffer<T> k, v;
  Buffer<Entry> table;

  Paged(DecodeProblem<T>& p, int64_t page_size)
      : k(pages(p, page_size) * page_size * p.d.k.seq),
        v(pages(p, page_size) * page_size * p.d.k.seq),
        table(p.d.batch * columns(p, page_size)) {
    d.attention = p.d;
    d.attention.kv_len = columns(p, page_size) * page_size;
    d.attention.k.batch = d.attention.v.batch = page_size * p.d.k.seq;
    d.block_table = table.data(), d.wide_table = sizeof(Entry) == 8;
    d.table_stride = columns(p, page_size);
    d.page_size = page_size, d.pages = pages(p, page_size);
    std::vector<Entry> order(d.pages);
    std::iota(order.begin(), order.end(), Entry(0));
    std::shuffle(order.begin(), order.end(), std::mt19937_64(4));
    for (int64_t b = 0; b < p.d.batch; ++b) {
      for (int64_t n = 0; n < d.table_stride; ++n) {
        const int64_t entry = b * d.table_stride + n;
        const bool used = n * page_size < p.lengths[b];
        table[entry] = used ? order[entry] : Entry(-9);
        for (int64_t j = n * page_size; j < std::min(p.lengths[b], (n + 1) * page_size); ++j)
          for (int64_t x = 0; x < p.d.k.seq; ++x) {
            const int64_t to = (order[entry] * page_size + j % page_size) * p.d.k.seq + x;
            k[to] = p.k[b * p.d.k.batch + j * p.d.k.seq + x];
            v[to] = p.v[b * p.d.k.batch + j * p.d.k.seq + x];
          }
      }
    }
  }

  static int64_t columns(DecodeProblem<T>& p, int64_t page_size) {
    return (p.d.kv_len + page_size - 1) / page_size;
  }
  static int64_t pages(DecodeProblem<T>& p, int64_t page_size) {
    return p.d.batch * columns(p, page_size);
  }

  void run(DecodeProblem<T>& p) {
    Buffer<uint8_t> workspace(static_cast<int64_t>(paged_attention_workspace<T>(d)));
    ASSERT_TRUE(paged_attention_takes<T>(d));
    paged_attention_forward<T>(nullptr, d, p.q.data(), k.data(), v.data(), p.out.data(),
                               p.lse.data(), workspace.data());
  }
};

const DecodeCase kSequences{.name = "",
                            .heads = 4,
                            .kv_heads = 2,
                            .q_len = 2,
                            .head_dim = 16,
                            .lengths = {300, 0, 1, 515, 64},
                            .window = 290,
                            .soft_cap = 3,
                            .slopes = true,
                            .sinks = true};

template <class T>
void expect_pages() {
  DecodeProblem<T> p(kSequences);
  for (const int64_t page_size : {1, 7, 300}) {
    SCOPED_TRACE(page_size);
    Paged<T, int32_t>(p, page_size).run(p);
    expect_reference(p, true);
    const std::vector<double> out = p.out.values(), lse = p.lse.values();
    Paged<T, int64_t>(p, page_size).run(p);
    EXPECT_EQ(p.out.values(), out);
    // Each sequence alone, contiguous, with no room to spare.
    for (int64_t b = 0; b < p.d.batch; ++b) {
      DecodeCase c = kSequences;
      c.lengths = {kSequences.lengths[b]};
      DecodeProblem<T> alone(c);
      const auto copy = [&](Buffer<T>& to, Buffer<T>& from, int64_t first, int64_t count) {
        for (int64_t x = 0; x < count; ++x) to[x] = from[first + x];
      };
      copy(alone.q, p.q, b * p.d.q.batch, p.d.q.batch);
      copy(alone.k, p.k, b * p.d.k.batch, c.lengths[0] * p.d.k.seq);
      copy(alone.v, p.v, b * p.d.k.batch, c.lengths[0] * p.d.k.seq);
      alone.run();
      const std::vector<double> row = alone.out.values(), row_lse = alone.lse.values();
      EXPECT_TRUE(std::equal(row.begin(), row.end(), out.begin() + b * p.d.out.batch)) << b;
      EXPECT_TRUE(
          std::equal(row_lse.begin(), row_lse.end(), lse.begin() + b * p.d.heads * p.d.q_len))
          << b;
    }
  }
}

TEST(PagedAttentionKernel, Float32HasTheBitsOfContiguousSequencesAlone) {
  expect_pages<float>();
}
TEST(PagedAttentionKernel, BFloat16HasTheBitsOfContiguousSequencesAlone) {
  expect_pages<BFloat16>();
}

// On one multiprocessor a block has all three splits of a head, on 100 each has one.
template <class T>
void expect_same_bits_of_splits() {
  const auto result = [](uint64_t seed, int multiprocessors) {
    device::emulation_seed() = seed;
    const int before = std::exchange(device::device_limits().multiprocessors, multiprocessors);
    DecodeCase c = kSequences;
    c.heads = c.kv_heads = 16;
    c.lengths = {600};
    c.window = 0;
    DecodeProblem<T> p(c);
    p.run();
    device::device_limits().multiprocessors = before;
    return p.out.values();
  };
  const std::vector<double> expected = result(1, 1);
  EXPECT_EQ(result(2, 1), expected);
  EXPECT_EQ(result(3, 100), expected);
}

TEST(AttentionDecodeKernel, BFloat16HasTheSameBitsInAnyOrderAndOnAnyNumberOfMultiprocessors) {
  expect_same_bits_of_splits<BFloat16>();
}
TEST(AttentionDecodeKernel, Float32HasTheSameBitsInAnyOrderAndOnAnyNumberOfMultiprocessors) {
  expect_same_bits_of_splits<float>();
}

TEST(PagedAttentionKernel, WhatIsOutOfBoundsReadsAsZerosAndIsReported) {
  DecodeProblem<float> p(kSequences);
  Paged<float, int32_t> paged(p, 16);
  OnDevice<IndexFault> fault{};
  report_bad_pages(nullptr, paged.d, 5, 7, &fault.value);
  EXPECT_EQ(fault.value.check, 0u);
  // Keys 320 to 335 of sequence 3, of which the window leaves those from 224 on.
  const int64_t entry = 3 * paged.d.table_stride + 20;
  for (int64_t x = 0; x < 16 * p.d.k.seq; ++x)
    p.k[3 * p.d.k.batch + 320 * p.d.k.seq + x] = p.v[3 * p.d.k.batch + 320 * p.d.k.seq + x] = 0;
  for (const int32_t bad : {int32_t(paged.d.pages), -1, 2147483647}) {
    paged.table[entry] = bad;
    paged.run(p);
    expect_reference(p, true);
    fault.value = {};
    report_bad_pages(nullptr, paged.d, 5, 7, &fault.value);
    EXPECT_EQ(fault.value.check, 7u);
    EXPECT_EQ(fault.value.element, entry);
    EXPECT_EQ(fault.value.value, bad);
  }
  // A length beyond the cache counts as all of it.
  p.lengths[3] = paged.d.attention.kv_len + 1;
  paged.run(p);
  fault.value = {};
  report_bad_pages(nullptr, paged.d, 5, 7, &fault.value);
  EXPECT_EQ(fault.value.check, 5u);
  EXPECT_EQ(fault.value.element, 3);
  EXPECT_EQ(fault.value.value, paged.d.attention.kv_len + 1);
}

TEST(AttentionDecodeKernel, TakesFewQueriesInWholeVectors) {
  const DecodeProblem<BFloat16> p(kSequences);
  EXPECT_TRUE(attention::decode_takes<BFloat16>(p.d));
  const auto refuses = [&](auto change) {
    AttentionDesc d = p.d;
    change(d);
    return !attention::decode_takes<BFloat16>(d);
  };
  const int64_t offsets[] = {0, 1};
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.q_len = 17; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.heads = 65 * d.kv_heads; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.kv_len = int64_t{1} << 31; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.dropout = 0.1f; }));
  EXPECT_TRUE(refuses([&](AttentionDesc& d) { d.cu_seqlens_q = offsets; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.head_dim = 12; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.head_dim = 264; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.k.seq += 4; }));
  EXPECT_TRUE(refuses([](AttentionDesc& d) { d.v.head += 1; }));
}

}  // namespace
}  // namespace plinth::kernels::cuda
