#include "kernels/attention/weights_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int64_t kBatch = 2, kHeads = 4, kKvHeads = 2, kQueries = 6, kKeys = 270, kDim = 13;
constexpr int64_t kChosen = 2;

cpu::AttentionDesc described() {
  cpu::AttentionDesc d;
  d.batch = kBatch, d.heads = kHeads, d.kv_heads = kKvHeads;
  d.q_len = kQueries, d.kv_len = kKeys, d.head_dim = kDim;
  d.q = {kHeads * kQueries * kDim, kQueries * kDim, kDim};
  d.k = {kKvHeads * kKeys * kDim, kKeys * kDim, kDim};
  d.scale = 0.3;
  return d;
}

// Against the CPU's kernel in float64.
template <class T>
void expect_weights(const cpu::AttentionDesc& d, const cpu::AttentionDesc& host) {
  using C = compute_t<T>;
  Buffer<T> q(d.batch * d.q.batch), k(d.batch * d.k.batch);
  Buffer<int64_t> heads(kChosen), rows(kChosen);
  heads.copy_from({3, 0});
  rows.copy_from({kQueries - 1, 1});
  q.fill_random(1);
  k.fill_random(2);
  const int64_t count = d.batch * kChosen * kChosen * d.kv_len;
  Buffer<C> weights(count);
  attention_weights<T>(nullptr, d, kChosen, heads.data(), kChosen, rows.data(), q.data(), k.data(),
                       weights.data());
  std::vector<double> expected(count);
  const std::vector<double> q64 = q.values(), k64 = k.values();
  cpu::attention_weights<double>(host, kChosen, heads.data(), kChosen, rows.data(), q64.data(),
                                 k64.data(), expected.data());
  expect_close<C>(weights.values(), expected, 16);
}

// The description with what bends scores, in C of the device and in float64.
template <class T>
void expect_bent_weights() {
  using C = compute_t<T>;
  Buffer<C> sinks(kHeads);
  Buffer<double> sinks64(kHeads);
  Buffer<int64_t> lengths(kBatch);
  sinks.fill_random(3);
  for (int64_t h = 0; h < kHeads; ++h) sinks64[h] = double(sinks[h]);
  lengths.copy_from({0, 200});
  cpu::AttentionDesc d = described();
  d.causal = true, d.soft_cap = 2, d.window = 150;
  d.kv_lengths = lengths.data();
  cpu::AttentionDesc host = d;
  d.sinks = sinks.data(), host.sinks = sinks64.data();
  expect_weights<T>(d, host);
}

template <class T>
void expect_all_weights() {
  expect_weights<T>(described(), described());
  expect_bent_weights<T>();
}

TEST(AttentionWeightsKernel, MatchesFloat64InEveryType) {
  expect_all_weights<float>();
  expect_all_weights<double>();
  expect_all_weights<BFloat16>();
  expect_all_weights<Float16>();
}

TEST(AttentionWeightsKernel, PackedQueriesSeeTheirSequence) {
  Buffer<int64_t> cu_q(5), cu_k(5);
  cu_q.copy_from({0, 2, 2, 3, kQueries});
  cu_k.copy_from({0, 100, 101, 120, kKeys});
  cpu::AttentionDesc d = described();
  d.batch = 1;
  d.cu_seqlens_q = cu_q.data(), d.cu_seqlens_k = cu_k.data();
  d.sequences = 4;
  expect_weights<float>(d, d);
}

TEST(AttentionWeightsKernel, NothingChosenIsNothingDone) {
  attention_weights<float>(nullptr, described(), 0, nullptr, 3, nullptr, nullptr, nullptr, nullptr);
  cpu::AttentionDesc d = described();
  d.kv_len = 0;
  attention_weights<float>(nullptr, d, 1, nullptr, 1, nullptr, nullptr, nullptr, nullptr);
}

}  // namespace
}  // namespace plinth::kernels::cuda
