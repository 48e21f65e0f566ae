#include "distributed/context/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "distributed/simulated/simulated_group.h"
#include "nn/layers/share.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/largest_difference.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kTokens = 32;

Tensor random(int64_t heads, DType dtype, int64_t seed) {
  return normal({2, heads, kTokens, 8}, 0, 1, {.seed = static_cast<uint64_t>(seed)}).to(dtype);
}

// This rank's tokens of x [batch, heads, tokens, ...].
Tensor own_tokens(const Tensor& x, const ProcessGroup& group) {
  const nn::SequencePart part{.ranks = group.size(), .rank = group.rank()};
  return part.take(x.transpose(1, 2)).transpose(1, 2).contiguous();
}

struct Results {
  Tensor out, dq, dk, dv;
};

Results run(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& dout,
            const std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)>& attend) {
  const auto leaf = [](const Tensor& x) { return x.clone().set_requires_grad(); };
  const Tensor q_leaf = leaf(q), k_leaf = leaf(k), v_leaf = leaf(v);
  manual_seed(5);
  const Tensor out = attend(q_leaf, k_leaf, v_leaf);
  out.backward(dout);
  return {out.detach(), q_leaf.grad(), k_leaf.grad(), v_leaf.grad()};
}

// All ranks' rows are those of one rank's attention, and so are the gradients.
void expect_rows_of_one_rank(int ranks, ContextAlgorithm algorithm, DType dtype, double tolerance,
                             const AttentionOptions& options) {
  const Tensor q = random(4, dtype, 1), k = random(2, dtype, 2), v = random(2, dtype, 3);
  const Tensor dout = random(4, dtype, 4);
  const Results whole = run(q, k, v, dout, [&](const Tensor& a, const Tensor& b, const Tensor& c) {
    return attention(a, b, c, options);
  });
  run_ranks(ranks, [&](ProcessGroup& world) {
    const std::shared_ptr<ProcessGroup> group(std::shared_ptr<void>(), &world);  // of run_ranks
    const auto own = [&](const Tensor& x) { return own_tokens(x, *group); };
    const Results part = run(own(q), own(k), own(v), own(dout),
                             [&](const Tensor& a, const Tensor& b, const Tensor& c) {
                               return context_attention(a, b, c, options, group, algorithm);
                             });
    EXPECT_LT(largest_difference(part.out, own(whole.out)), tolerance);
    EXPECT_LT(largest_difference(part.dq, own(whole.dq)), tolerance);
    EXPECT_LT(largest_difference(part.dk, own(whole.dk)), tolerance);
    EXPECT_LT(largest_difference(part.dv, own(whole.dv)), tolerance);
  });
}

// In float64 nothing but the order of sums differs, among numbers up to about 10.
TEST(ContextAttention, GivesTheRowsAndGradientsOfOneRank) {
  for (const auto algorithm : {ContextAlgorithm::Gather, ContextAlgorithm::Ring}) {
    for (const int ranks : {2, 4}) {
      for (const double dropout : {0.0, 0.4})
        expect_rows_of_one_rank(ranks, algorithm, DType::Float64, 1e-13,
                                {.causal = true, .scale = 0.5, .dropout = dropout});
    }
  }
}

// Each of up to four parts is rounded to bfloat16 once more than one rank's result.
TEST(ContextAttention, RoundsBFloat16AsOften) {
  for (const auto algorithm : {ContextAlgorithm::Gather, ContextAlgorithm::Ring})
    expect_rows_of_one_rank(4, algorithm, DType::BFloat16, 0.1, {.causal = true});
}

TEST(ContextAttention, GatheredKeysTakeWindowsAndSinks) {
  expect_rows_of_one_rank(2, ContextAlgorithm::Gather, DType::Float64, 1e-13,
                          {.causal = true,
                           .window = 5,
                           .soft_cap = 3,
                           .sinks = from_values<double>({0.5, -1, 2, 0}, {4})});
}

TEST(ContextAttention, RefusesWhatARingCannotDo) {
  const auto group = make_simulated_groups(2)[0];
  const Tensor x = zeros({1, 2, 12, 8});
  const auto attend = [&](const AttentionOptions& options) {
    context_attention(x, x, x, options, group, ContextAlgorithm::Ring);
  };
  expect_error(ErrorKind::Argument, "causal is false, takes true", [&] { attend({}); });
  expect_error(ErrorKind::Argument, "by a ring takes no window",
               [&] { attend({.causal = true, .window = 2}); });
  expect_error(ErrorKind::Argument, "got chunks of 6 tokens, takes a multiple of 4",
               [&] { attend({.causal = true, .dropout = 0.5}); });
  const Tensor odd = zeros({1, 2, 3, 8});
  expect_error(ErrorKind::Shape, "q has 3 tokens, expected two chunks of equal size", [&] {
    context_attention(odd, odd, odd, {.causal = true}, group, ContextAlgorithm::Gather);
  });
}

}  // namespace
}  // namespace plinth::distributed
