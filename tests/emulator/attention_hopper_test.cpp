#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "tests/emulator/attention_kernels.h"

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

const Case kCausal{.name = "causal",
                   .heads = 4,
                   .kv_heads = 2,
                   .q_len = 260,
                   .kv_len = 260,
                   .head_dim = 64,
                   .causal = true};
const Case kPacked{.name = "packed",
                   .heads = 4,
                   .kv_heads = 4,
                   .q_len = 213,
                   .kv_len = 213,
                   .head_dim = 64,
                   .causal = true,
                   .cu_seqlens_q = {0, 20, 160, 213},
                   .cu_seqlens_k = {0, 20, 160, 213}};
const Case kPadded{.name = "padded",
                   .batch = 2,
                   .heads = 1,
                   .kv_heads = 1,
                   .q_len = 20,
                   .kv_len = 620,  // tiles of padding, which take little time
                   .head_dim = 64,
                   .kv_lengths = {137, 150}};

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

// Two tiles of keys each, with few queries.
const Case kShort{.name = "short",
                  .batch = 6,
                  .heads = 1,
                  .kv_heads = 1,
                  .q_len = 10,
                  .kv_len = 150,
                  .head_dim = 64};

// One tile of keys each: a block's tiles of queries follow each other closely.
const Case kOneTile{.name = "one tile",
                    .batch = 12,
                    .heads = 1,
                    .kv_heads = 1,
                    .q_len = 4,
                    .kv_len = 40,
                    .head_dim = 64};
// One warpgroup has queries, which see many tiles that the others pass over.
const Case kFew{.name = "few queries",
                .batch = 4,
                .heads = 1,
                .kv_heads = 1,
                .q_len = 3,
                .kv_len = 700,
                .head_dim = 64};

// The same for the backward kernel of 256 columns, whose tiles have 64 keys.
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

// ---- what happens without one barrier, wait, fence, commit or arrival ----

// Whether the call at `site` can be missing unnoticed: with the same bits as `right`, and no error,
// in several orders of threads.
bool is_idle(const Kernels<BFloat16>& kernels, const emulate::CallSite& site, const Case& c,
             const Results& right) {
  for (uint64_t seed = 0; seed < 2; ++seed) {
    device::emulation_seed() = seed;
    emulate::leave_out(site.address);
    std::string outcome;
    Results results;
    try {
      results = run(kernels, Problem<BFloat16>(c));
    } catch (const emulate::KernelError& error) {
      outcome = error.what();
    }
    emulate::leave_out(nullptr);
    const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
        return x == y || (std::isnan(x) && std::isnan(y));
      });
    };
    if (!outcome.empty() || !same(results.out, right.out) || !same(results.lse, right.lse) ||
        !same(results.dq, right.dq) || !same(results.dk, right.dk) || !same(results.dv, right.dv))
      return false;
  }
  return true;
}

// Leaves out each such call of the kernels that these cases run, in turn, but those of `exempt`.
void expect_none_idle(const std::vector<Case>& cases, size_t least_calls,
                      std::set<std::string> exempt,
                      const std::function<Kernels<BFloat16>(const Case&)>& kernels_of) {
  // Fences between proxies are not followed from one block to another.
  exempt.insert("fence_async_all");
  std::vector<emulate::CallSite> idle, known;
  const auto knows = [](const std::vector<emulate::CallSite>& sites, const void* address) {
    return std::ranges::any_of(
        sites, [&](const emulate::CallSite& site) { return site.address == address; });
  };
  for (const Case& c : cases) {
    device::emulation_seed() = 0;
    const Kernels<BFloat16> kernels = kernels_of(c);
    emulate::start_recording();
    const Results right = run(kernels, Problem<BFloat16>(c));
    for (const emulate::CallSite& site : emulate::recorded()) {
      if (exempt.contains(site.function) || knows(known, site.address)) continue;
      known.push_back(site);
      idle.push_back(site);
    }
    std::erase_if(idle,
                  [&](const emulate::CallSite& site) { return !is_idle(kernels, site, c, right); });
  }
  EXPECT_GT(known.size(), least_calls);
  for (const emulate::CallSite& site : idle)
    ADD_FAILURE() << site.function << " from " << site.address;
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

TEST(AttentionHopper, FailsWithoutAnyOfItsBarriersWaitsAndFences) {
  expect_none_idle({kShort, kPadded, kPacked, kCausal, kOneTile, kFew}, 80, {},
                   [](const Case&) { return hopper<BFloat16>(); });
}
TEST(AttentionHopper, FailsWithoutAnyOfThemWithDropoutAndSoftCap) {
  std::vector<Case> cases{kShort, kPadded, kPacked, kCausal, kOneTile, kFew};
  for (Case& c : cases) {
    c.heads = c.kv_heads = std::min(c.heads, int64_t{3});
    c.dropout = 0.2f;
    c.soft_cap = 2;
  }
  cases[0].q_len = 5;
  cases[0].batch = 12;
  // Where all products are waited for at once, it matters little which of them are a group.
  expect_none_idle(cases, 80, {"wgmma_commit"}, [](const Case&) { return hopper<BFloat16>(); });
}
TEST(AttentionHopper, FailsWithoutAnyOfThemBackwardAtHeadDim256) {
  expect_none_idle({kWideShort, kWidePadded, kWidePacked, kWideWindow, kWideCausal}, 40, {},
                   backward_alone);
}

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
