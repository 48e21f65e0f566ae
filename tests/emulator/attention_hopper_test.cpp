#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/attention/hopper/backward_work.cuh"
#include "tests/emulator/attention_kernels.h"
#include "tests/emulator/attention_mutations.h"

namespace plinth::kernels::cuda::attention_testing {
namespace {

TEST(AttentionHopper, BFloat16OfHeadDim64) {
  expect_all_of_hopper<BFloat16>(64, 192, 128);
}
TEST(AttentionHopper, Float16OfHeadDim64) {
  expect_some_of_hopper<Float16>(64, 192, 128);
}
TEST(AttentionHopper, BFloat16OfHeadDim80) {
  expect_some_of_hopper<BFloat16>(80, 128, 128);
}
TEST(AttentionHopper, Float16OfHeadDim96) {
  expect_some_of_hopper<Float16>(96, 128, 128);
}
TEST(AttentionHopper, BFloat16OfHeadDim128) {
  expect_all_of_hopper<BFloat16>(128, 128, 128);
}
TEST(AttentionHopper, Float16OfHeadDim160) {
  expect_some_of_hopper<Float16>(160, 64, 80);
}
TEST(AttentionHopper, BFloat16OfHeadDim256) {
  expect_all_of_hopper<BFloat16>(256, 64, 64);
}

// Three tiles of keys, as many as the emulated GPU has multiprocessors, in a batch that has more.
const Case kLongPadded{.name = "long padded",
                       .batch = 2,
                       .heads = 1,
                       .kv_heads = 1,
                       .q_len = 150,
                       .kv_len = 900,
                       .head_dim = 64,
                       .kv_lengths = {300, 290}};
const Case kLongPacked{.name = "long packed",
                       .heads = 2,
                       .kv_heads = 1,
                       .q_len = 510,
                       .kv_len = 510,
                       .head_dim = 64,
                       .cu_seqlens_q = {0, 70, 370, 510},
                       .cu_seqlens_k = {0, 70, 370, 510}};

// For the backward kernel of 256 columns, whose tiles have 64 keys.
const Case kWideShort{.name = "wide, short",
                      .batch = 9,
                      .heads = 1,
                      .kv_heads = 1,
                      .q_len = 5,
                      .kv_len = 70,
                      .head_dim = 256};
const Case kWidePadded{.name = "wide, padded",
                       .batch = 2,
                       .heads = 1,
                       .kv_heads = 1,
                       .q_len = 10,
                       .kv_len = 460,  // many tiles of padding, which take little time
                       .head_dim = 256,
                       .kv_lengths = {69, 75}};
const Case kWidePacked{.name = "wide, packed",
                       .heads = 2,
                       .kv_heads = 2,
                       .q_len = 107,
                       .kv_len = 107,
                       .head_dim = 256,
                       .causal = true,
                       .cu_seqlens_q = {0, 10, 80, 107},
                       .cu_seqlens_k = {0, 10, 80, 107}};
// Most tiles of keys are seen by no query.
const Case kWideWindow{.name = "wide, window",
                       .heads = 1,
                       .kv_heads = 1,
                       .q_len = 10,
                       .kv_len = 460,
                       .head_dim = 256,
                       .causal = true,
                       .window = 5};
const Case kWideCausal{.name = "wide, causal",
                       .heads = 2,
                       .kv_heads = 1,
                       .q_len = 140,
                       .kv_len = 140,
                       .head_dim = 256,
                       .causal = true};

TEST(AttentionHopper, ReadsThePlaceOfARandomKey) {
  for (Case c : {kShort, kWideShort}) {
    c.dropout = 0.5f;
    expect_philox_place_is_read(hopper<BFloat16>(), c);
  }
}

TEST(AttentionHopper, SameBitsInEveryOrderOfThreads) {
  expect_same_bits_in_every_order(hopper<BFloat16>(), kCausal);
  expect_same_bits_in_every_order(hopper<BFloat16>(), kWideCausal);
}
TEST(AttentionHopper, SameBitsWhateverStandsBesideARow) {
  for (int64_t index : {0, 1, 2}) expect_same_bits_alone(hopper<BFloat16>(), kPacked, index);
  for (int64_t index : {0, 1}) expect_same_bits_alone(hopper<BFloat16>(), kPadded, index);
  for (int64_t index : {0, 1}) expect_same_bits_alone(hopper<BFloat16>(), kLongPadded, index);
  expect_same_bits_alone(hopper<BFloat16>(), kLongPacked, 1);
  expect_same_bits_alone(hopper<BFloat16>(), kWidePacked, 1);
  expect_same_bits_alone(hopper<BFloat16>(), kWidePadded, 0);
}

// ---- the order of the backward kernel's work ----

using attention::KeyOrder;
using attention::KeySchedule;

// Every tile of keys of every problem and head once, and a problem's in the order of their turns:
// from the last one on, where it is Ascending from the first.
TEST(AttentionHopper, TakesAllTilesOfKeysInTheOrderOfTheirTurns) {
  for (int heads : {1, 2, 3, 5, 8}) {
    for (int problems : {1, 2, 3}) {
      for (int tiles_each : {1, 2, 5}) {
        for (int together : {0, 1, 2, 4, 100}) {
          const KeySchedule schedule{.tiles = problems * tiles_each,
                                     .count = heads * problems * tiles_each,
                                     .heads = heads,
                                     .problems = problems,
                                     .together = together};
          std::map<std::pair<int, int>, std::vector<int>> taken;  // by head and problem
          for (int number = 0; number < schedule.count; ++number) {
            const KeySchedule::Place at = schedule.place(number);
            taken[{at.head, at.tile / tiles_each}].push_back(at.tile % tiles_each);
          }
          std::vector<int> ascending(static_cast<size_t>(tiles_each));
          std::iota(ascending.begin(), ascending.end(), 0);
          const std::vector<int> descending(ascending.rbegin(), ascending.rend());
          ASSERT_EQ(taken.size(), static_cast<size_t>(heads * problems));
          for (const auto& [problem, tiles] : taken) {
            const bool ascends = schedule.order(problem.first, tiles_each) == KeyOrder::Ascending;
            EXPECT_EQ(ascends, together > 0 && problem.first % 2 == 1);
            EXPECT_EQ(tiles, ascends ? ascending : descending)
                << heads << " heads, " << problems << " problems, " << together << " together";
          }
        }
      }
    }
  }
}

// ---- what happens without one barrier, wait, fence, commit or arrival ----

std::vector<KernelRun> runs_of(const std::vector<Case>& cases,
                               const std::function<Kernels<BFloat16>(const Case&)>& kernels_of) {
  std::vector<KernelRun> runs;
  for (const Case& c : cases)
    runs.emplace_back([c, kernels = kernels_of(c)] { return run(kernels, Problem<BFloat16>(c)); });
  return runs;
}

// Forward and backward.
Kernels<BFloat16> both(const Case&) {
  return hopper<BFloat16>();
}
// The backward kernel alone: the forward kernel has run on this case before.
Kernels<BFloat16> backward_alone(const Case& c) {
  Kernels<BFloat16> kernels = hopper<BFloat16>();
  const Problem<BFloat16> p(c);
  const auto out = std::make_shared<Buffer<BFloat16>>(p.d.batch * p.d.out.batch);
  const auto lse = std::make_shared<Buffer<float>>(p.rows);
  kernels.forward(p.d, p.q.data(), p.k.data(), p.v.data(), out->data(), lse->data());
  kernels.forward = [out, lse](const AttentionDesc& d, const BFloat16*, const BFloat16*,
                               const BFloat16*, BFloat16* to_out, float* to_lse) {
    std::copy_n(out->data(), d.batch * d.out.batch, to_out);
    std::copy_n(lse->data(), d.batch * d.heads * d.q_len, to_lse);
  };
  return kernels;
}

Kernels<BFloat16> forward_alone(const Case&) {
  Kernels<BFloat16> kernels = hopper<BFloat16>();
  kernels.backward = [](const auto&...) {};
  return kernels;
}

TEST(AttentionHopper, FailsWithoutAnyOfItsBarriersWaitsAndFences) {
  expect_none_idle(runs_of(mutation_cases(64), both), 80);
}
TEST(AttentionHopper, FailsWithoutAnyOfThemWithDropoutAndSoftCap) {
  std::vector<Case> cases = mutation_cases(64);
  for (Case& c : cases) {
    c.heads = c.kv_heads = std::min(c.heads, int64_t{3});
    c.dropout = 0.2f;
    c.soft_cap = 2;
  }
  cases[0].q_len = 5;
  cases[0].batch = 12;
  // Where all products are waited for at once, it matters little which of them are a group.
  expect_none_idle(runs_of(cases, both), 80, {"wgmma_commit"});
}
TEST(AttentionHopper, FailsWithoutAnyOfThemAtHeadDim128) {
  expect_none_idle(runs_of(mutation_cases(128), both), 80);
}
TEST(AttentionHopper, FailsWithoutAnyOfThemForwardAtHeadDim256) {
  expect_none_idle(runs_of(mutation_cases(256), forward_alone), 40);
}
TEST(AttentionHopper, FailsWithoutAnyOfThemBackwardAtHeadDim256) {
  expect_none_idle(
      runs_of({kWideShort, kWidePadded, kWidePacked, kWideWindow, kWideCausal}, backward_alone),
      40);
}

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
