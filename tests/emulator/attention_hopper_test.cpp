#include <gtest/gtest.h>

#include "kernels/attention/hopper/hopper.h"
#include "kernels/attention/plain/plain.h"
#include "tests/emulator/attention_testing.h"

namespace plinth::kernels::cuda::attention_testing {
namespace {

// The Hopper kernels; the plain ones where there is nothing to do.
template <class T>
Kernels<T> hopper() {
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, float* lse) {
            if (const char* obstacle = attention::hopper_obstacle(d, q, k, v, out)) {
              EXPECT_STREQ(obstacle, "there is nothing to do");
              return attention::plain_forward<T>(nullptr, d, q, k, v, out, lse);
            }
            attention::hopper_forward<T>(nullptr, d, q, k, v, out, lse);
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const float* lse, T* dq, T* dk, T* dv) {
            const attention::Gradients<T> operands{dout, q, k, v, out, dq, dk, dv};
            if (attention::hopper_backward_obstacle(d, operands)) {
              Buffer<float> delta(d.batch * d.heads * d.q_len);
              attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
              return attention::plain_backward<T>(nullptr, d, dout, q, k, v, lse, delta.data(), dq,
                                                  dk, dv);
            }
            Buffer<float> workspace(
                static_cast<int64_t>(attention::hopper_backward_workspace<T>(d) / sizeof(float)));
            attention::hopper_backward<T>(nullptr, d, operands, lse, workspace.data());
          }};
}

// Every feature, or those whose tiles depend on the columns most.
template <class T>
void expect_all(int64_t head_dim, int64_t queries, int64_t keys) {
  for (const Case& c : cases_of(head_dim, queries, keys)) expect_matches(hopper<T>(), c);
}
template <class T>
void expect_some(int64_t head_dim, int64_t queries, int64_t keys) {
  for (const Case& c : cases_of(head_dim, queries, keys)) {
    if (c.name == "full" || c.name == "causal" || c.name == "packed" || c.name == "all at once")
      expect_matches(hopper<T>(), c);
  }
}

TEST(AttentionHopper, BFloat16OfHeadDim64) {
  expect_all<BFloat16>(64, 192, 128);
}
TEST(AttentionHopper, Float16OfHeadDim64) {
  expect_some<Float16>(64, 192, 128);
}
TEST(AttentionHopper, BFloat16OfHeadDim80) {
  expect_some<BFloat16>(80, 128, 128);
}
TEST(AttentionHopper, Float16OfHeadDim96) {
  expect_some<Float16>(96, 128, 128);
}
TEST(AttentionHopper, BFloat16OfHeadDim128) {
  expect_all<BFloat16>(128, 128, 128);
}
TEST(AttentionHopper, BFloat16OfHeadDim256) {
  expect_some<BFloat16>(256, 128, 80);
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
                   .kv_len = 150,
                   .head_dim = 64,
                   .kv_lengths = {137, 150}};

// Two tiles of keys each, with few queries.
const Case kShort{.name = "short",
                  .batch = 6,
                  .heads = 1,
                  .kv_heads = 1,
                  .q_len = 10,
                  .kv_len = 150,
                  .head_dim = 64};

// These kernels draw from the key alone: a captured step's masks would repeat.
TEST(AttentionHopper, LeavesRandomNumbersOfACapturedStepToOthers) {
  Case c = kCausal;
  c.dropout = 0.5f;
  Problem<BFloat16> p(c);
  const auto obstacle = [&] {
    return attention::hopper_obstacle<BFloat16>(p.d, p.q.data(), p.k.data(), p.v.data(), nullptr);
  };
  EXPECT_EQ(obstacle(), nullptr);
  const PhiloxPlace place{};
  p.d.philox.place = &place;
  EXPECT_NE(obstacle(), nullptr);
  p.d.dropout = 0;
  EXPECT_EQ(obstacle(), nullptr);
}

TEST(AttentionHopper, SameBitsInEveryOrderOfThreads) {
  expect_same_bits_in_every_order(hopper<BFloat16>(), kCausal);
}
TEST(AttentionHopper, SameBitsWhateverStandsBesideARow) {
  for (int64_t index : {0, 1, 2}) expect_same_bits_alone(hopper<BFloat16>(), kPacked, index);
  for (int64_t index : {0, 1}) expect_same_bits_alone(hopper<BFloat16>(), kPadded, index);
}

// ---- what happens without one barrier, wait, fence, commit or arrival ----

// Whether the call at `site` can be missing unnoticed: with the same bits as `right`, and no error,
// in several orders of threads.
bool is_idle(const emulate::CallSite& site, const Case& c, const Results& right) {
  for (uint64_t seed = 0; seed < 2; ++seed) {
    device::emulation_seed() = seed;
    emulate::leave_out(site.address);
    std::string outcome;
    Results results;
    try {
      results = run(hopper<BFloat16>(), Problem<BFloat16>(c));
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

TEST(AttentionHopper, FailsWithoutAnyOfItsBarriersWaitsAndFences) {
  std::vector<emulate::CallSite> idle, known;
  const auto knows = [](const std::vector<emulate::CallSite>& sites, const void* address) {
    return std::ranges::any_of(
        sites, [&](const emulate::CallSite& site) { return site.address == address; });
  };
  for (const Case& c : {kShort, kPadded, kPacked, kCausal}) {
    device::emulation_seed() = 0;
    emulate::start_recording();
    const Results right = run(hopper<BFloat16>(), Problem<BFloat16>(c));
    for (const emulate::CallSite& site : emulate::recorded()) {
      // Fences between proxies are not followed from one block to another.
      if (site.function == "fence_async_all" || knows(known, site.address)) continue;
      known.push_back(site);
      idle.push_back(site);
    }
    std::erase_if(idle, [&](const emulate::CallSite& site) { return !is_idle(site, c, right); });
  }
  EXPECT_GT(known.size(), 80u);
  for (const emulate::CallSite& site : idle)
    ADD_FAILURE() << site.function << " from " << site.address;
}

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
