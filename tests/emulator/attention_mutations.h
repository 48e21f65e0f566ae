#pragma once

// What happens to attention's kernels without one barrier, wait, fence, commit or arrival.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/emulator/attention_testing.h"

namespace plinth::kernels::cuda::attention_testing {

// ---- cases in which a call's absence shows ----

inline const Case kCausal{.name = "causal",
                          .heads = 4,
                          .kv_heads = 2,
                          .q_len = 260,
                          .kv_len = 260,
                          .head_dim = 64,
                          .causal = true};
inline const Case kPacked{.name = "packed",
                          .heads = 4,
                          .kv_heads = 4,
                          .q_len = 213,
                          .kv_len = 213,
                          .head_dim = 64,
                          .causal = true,
                          .cu_seqlens_q = {0, 20, 160, 213},
                          .cu_seqlens_k = {0, 20, 160, 213}};
inline const Case kPadded{.name = "padded",
                          .batch = 2,
                          .heads = 1,
                          .kv_heads = 1,
                          .q_len = 20,
                          .kv_len = 620,  // tiles of padding, which take little time
                          .head_dim = 64,
                          .kv_lengths = {137, 150}};

// Two tiles of keys each, with few queries.
inline const Case kShort{.name = "short",
                         .batch = 6,
                         .heads = 1,
                         .kv_heads = 1,
                         .q_len = 10,
                         .kv_len = 150,
                         .head_dim = 64};

// One tile of keys each: a block's tiles of queries follow each other closely.
inline const Case kOneTile{.name = "one tile",
                           .batch = 12,
                           .heads = 1,
                           .kv_heads = 1,
                           .q_len = 4,
                           .kv_len = 40,
                           .head_dim = 64};
// One warpgroup has queries, which see many tiles that the others pass over.
inline const Case kFew{.name = "few queries",
                       .batch = 4,
                       .heads = 1,
                       .kv_heads = 1,
                       .q_len = 3,
                       .kv_len = 700,
                       .head_dim = 64};

inline std::vector<Case> mutation_cases(int64_t head_dim) {
  std::vector<Case> cases = {kShort, kPadded, kPacked, kCausal, kOneTile, kFew};
  for (Case& c : cases) c.head_dim = head_dim;
  return cases;
}

// ---- leaving calls out ----

using KernelRun = std::function<Results()>;

// Whether the call at `site` can be missing unnoticed: with the same bits as `right`, and no error,
// in several orders of threads.
inline bool is_idle(const KernelRun& run, const emulate::CallSite& site, const Results& right) {
  const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
      return x == y || (std::isnan(x) && std::isnan(y));
    });
  };
  for (uint64_t seed = 0; seed < 2; ++seed) {
    device::emulation_seed() = seed;
    emulate::leave_out(site.address);
    std::string outcome;
    Results results;
    try {
      results = run();
    } catch (const emulate::KernelError& error) {
      outcome = error.what();
    }
    emulate::leave_out(nullptr);
    if (!outcome.empty() || !same(results.out, right.out) || !same(results.lse, right.lse) ||
        !same(results.dq, right.dq) || !same(results.dk, right.dk) || !same(results.dv, right.dv))
      return false;
  }
  return true;
}

// Leaves out each such call of the kernels that are run, in turn, but those of `exempt`: one run at
// least must show it. There are more than `least_calls`.
inline void expect_none_idle(const std::vector<KernelRun>& runs, size_t least_calls,
                             std::set<std::string> exempt = {}) {
  // Fences between proxies are not followed from one block to another.
  exempt.insert("fence_async_all");
  std::vector<emulate::CallSite> idle, known;
  const auto knows = [](const std::vector<emulate::CallSite>& sites, const void* address) {
    return std::ranges::any_of(
        sites, [&](const emulate::CallSite& site) { return site.address == address; });
  };
  for (const KernelRun& run : runs) {
    device::emulation_seed() = 0;
    emulate::start_recording();
    const Results right = run();
    for (const emulate::CallSite& site : emulate::recorded()) {
      if (exempt.contains(site.function) || knows(known, site.address)) continue;
      known.push_back(site);
      idle.push_back(site);
    }
    std::erase_if(idle, [&](const emulate::CallSite& site) { return !is_idle(run, site, right); });
  }
  EXPECT_GT(known.size(), least_calls);
  for (const emulate::CallSite& site : idle)
    ADD_FAILURE() << site.function << " from " << site.address;
}

}  // namespace plinth::kernels::cuda::attention_testing
