#include <set>

#include "kernels/attention/tensor_core/backward.cuh"
#include "kernels/attention/tensor_core/forward.cuh"
#include "kernels/attention/tensor_core/launch.h"
#include "tests/emulator/attention_kernels.h"
#include "tests/emulator/vocabulary_testing.h"

namespace plinth::kernels::cuda::attention_testing {
namespace {

using attention::tensor_core::Mistake;

TEST(AttentionTensorCore, BFloat16HeadDim64) {
  expect_all_of_tensor_core<BFloat16>(64, 128);
}
TEST(AttentionTensorCore, BFloat16HeadDim80) {
  expect_all_of_tensor_core<BFloat16>(80, 128);
}
TEST(AttentionTensorCore, BFloat16HeadDim96) {
  expect_all_of_tensor_core<BFloat16>(96, 128);
}
TEST(AttentionTensorCore, BFloat16HeadDim128) {
  expect_all_of_tensor_core<BFloat16>(128, 128);
}
TEST(AttentionTensorCore, BFloat16HeadDim256) {
  expect_all_of_tensor_core<BFloat16>(256, 64);
}
TEST(AttentionTensorCore, Float16HeadDim64) {
  expect_all_of_tensor_core<Float16>(64, 128);
}
// Other instances differ from those of bfloat16 by the element alone.
TEST(AttentionTensorCore, Float16OtherHeadDims) {
  for (int64_t head_dim : {80, 96, 128, 256}) {
    for (const Case& c : cases_of(head_dim, 64, 32)) {
      if (c.name == "full" || c.name == "causal" || c.name == "all at once")
        expect_matches(tensor_core<Float16>(), c);
    }
  }
}

const Case kPackedSequences{.name = "packed",
                            .heads = 2,
                            .kv_heads = 1,
                            .q_len = 100,
                            .kv_len = 110,
                            .head_dim = 64,
                            .causal = true,
                            .cu_seqlens_q = {0, 3, 85, 100},
                            .cu_seqlens_k = {0, 5, 90, 110}};
const Case kPaddedSequences{.name = "padded",
                            .batch = 3,
                            .heads = 1,
                            .kv_heads = 1,
                            .q_len = 20,
                            .kv_len = 90,
                            .head_dim = 64,
                            .kv_lengths = {90, 66, 2}};

TEST(AttentionTensorCore, OtherHeadDims) {
  for (int64_t head_dim : {8, 24, 72, 104, 136, 248}) {
    Case c = kPackedSequences;
    c.head_dim = head_dim;
    expect_matches(tensor_core<BFloat16>(), c);
  }
}

TEST(AttentionTensorCore, SameBitsInEveryOrderOfThreads) {
  for (int64_t head_dim : {64, 256}) {
    Case c = kPackedSequences;
    c.head_dim = head_dim;
    expect_same_bits_in_every_order(tensor_core<BFloat16>(), c);
    c.dropout = 0.1f;
    expect_same_bits_in_every_order(tensor_core<BFloat16>(), c);
  }
}

TEST(AttentionTensorCore, SameBitsAloneAndAmongNaN) {
  for (int64_t index = 0; index < 3; ++index) {
    Case packed = kPackedSequences, padded = kPaddedSequences;
    expect_same_bits_alone(tensor_core<BFloat16>(), packed, index);
    expect_same_bits_alone(tensor_core<BFloat16>(), padded, index);
    packed.dropout = 0.2f, packed.alibi = true;
    padded.soft_cap = 2, padded.sinks = true;
    expect_same_bits_alone(tensor_core<BFloat16>(), packed, index);
    expect_same_bits_alone(tensor_core<BFloat16>(), padded, index);
  }
  Case wide = kPackedSequences;
  wide.head_dim = 256;
  expect_same_bits_alone(tensor_core<BFloat16>(), wide, 1);
}

TEST(AttentionTensorCore, ReadsThePlaceOfItsRandomNumbers) {
  Case c = kPackedSequences;
  c.dropout = 0.3f;
  expect_philox_place_is_read(tensor_core<BFloat16>(), c);
}

// What 8 rows of ldmatrix, and 8 lanes of a copy, touch at once lies in different banks.
template <int kColumns>
void expect_no_bank_conflicts() {
  using Tile = attention::tensor_core::Tile<BFloat16, kColumns>;
  const auto expect_apart = [](auto place) {
    std::set<uint32_t> banks;
    for (uint32_t i = 0; i < 8; ++i) banks.insert(place(i) * 2 % 128 / 16);
    EXPECT_EQ(banks.size(), 8u) << kColumns;
  };
  for (uint32_t row = 0; row < 16; row += 8) {
    for (uint32_t unit = 0; unit < kColumns / 8; ++unit)
      expect_apart([&](uint32_t i) { return Tile::place(row + i, unit); });
  }
  for (uint32_t lane = 0; lane < 128; lane += 8) {
    expect_apart([&](uint32_t i) {
      return Tile::place((lane + i) / Tile::kSpan, (lane + i) % Tile::kSpan);
    });
  }
}

TEST(AttentionTensorCore, TilesHaveNoBankConflicts) {
  expect_no_bank_conflicts<64>();
  expect_no_bank_conflicts<96>();
  expect_no_bank_conflicts<128>();
  expect_no_bank_conflicts<256>();
}

TEST(AttentionTensorCore, SaysWhatItDoesNotTake) {
  const Problem<BFloat16> problem({.name = "", .q_len = 8, .kv_len = 8, .head_dim = 64});
  const BFloat16* const q = problem.q.data();
  const auto why = [&](auto change, const void* pointer) {
    AttentionDesc d = problem.d;
    change(d);
    std::string reason;
    EXPECT_FALSE(attention::tensor_core_takes<BFloat16>(d, true, {pointer}, &reason));
    return reason;
  };
  const auto nothing = [](AttentionDesc&) {};
  const std::string head_dim = "head_dim is not a multiple of 8 up to 256";
  const std::string rows = "rows do not begin at multiples of 16 bytes";
  EXPECT_EQ(why([](AttentionDesc& d) { d.head_dim = 12; }, q), head_dim);
  EXPECT_EQ(why([](AttentionDesc& d) { d.head_dim = 264; }, q), head_dim);
  EXPECT_EQ(why([](AttentionDesc& d) { d.v.seq = 68; }, q), rows);
  EXPECT_EQ(why([](AttentionDesc& d) { d.dk.head = 4; }, q), rows);
  EXPECT_EQ(why(nothing, q + 1), rows);
  EXPECT_EQ(why([](AttentionDesc& d) { d.kv_len = int64_t{1} << 30; }, q),
            "a size is beyond the kernel's integers");
  std::string reason;
  EXPECT_FALSE(attention::tensor_core_takes<float>(problem.d, false, {q}, &reason));
  EXPECT_EQ(reason, "elements are not of 16 bits");
  EXPECT_TRUE(attention::tensor_core_takes<BFloat16>(problem.d, true, {q, nullptr}, &reason));
}

// ---- the kernels without one of their waits or barriers ----

// One head with three tiles of either side, and the numbers of a backward pass.
template <int kColumns>
struct Mistaken {
  using T = BFloat16;
  Problem<T> problem{
      {.name = "", .heads = 1, .kv_heads = 1, .q_len = 150, .kv_len = 150, .head_dim = kColumns}};
  const AttentionDesc& d = problem.d;
  Results exact = exact_results(problem), rounded = rounded_results(problem);
  Buffer<T> out{150 * kColumns}, dq{150 * kColumns}, dk{150 * kColumns}, dv{150 * kColumns};
  Buffer<float> lse{150}, delta{150};

  template <class Shape, class Kernel, class... Arguments>
  std::string run(Shape, int64_t own, Kernel kernel, Arguments... arguments) {
    return device::outcome([&] {
      launch("attention", kernel,
             {{static_cast<uint32_t>(ceil_div(150, own))}, {Shape::kThreads}, Shape::kSharedBytes},
             nullptr, d, attention::Lengths{}, attention::Scaled<T>(d),
             attention::Dropout<float>(d), attention::tensor_core::unit_of<attention::Scaled<T>>(d),
             arguments...);
    });
  }
  // "ran", an error's message, or "wrong".
  static std::string judge(const std::string& result, const Buffer<T>& actual,
                           const std::vector<double>& exact, const std::vector<double>& rounded) {
    if (result != "ran") return result;
    const double error = largest_error(actual.values(), exact);
    return error <= 3 * largest_error(rounded, exact) ? "ran" : "wrong";
  }

  template <Mistake mistake>
  std::string forward() {
    using Shape = attention::tensor_core::ForwardShape<kColumns, true>;
    const auto kernel =
        attention::tensor_core::forward_kernel<T, kColumns, attention::Scaled, mistake>;
    return judge(run(Shape{}, Shape::kQueries, kernel, problem.q.data(), problem.k.data(),
                     problem.v.data(), out.data(), lse.data()),
                 out, exact.out, rounded.out);
  }
  attention::tensor_core::BackwardInputs<T> inputs() {
    return {problem.dout.data(), problem.q.data(), problem.k.data(),
            problem.v.data(),    lse.data(),       delta.data()};
  }
  template <Mistake mistake>
  std::string queries() {
    using Shape = attention::tensor_core::QueryShape<kColumns, true>;
    const auto kernel = attention::tensor_core::dq_kernel<T, kColumns, attention::Scaled, mistake>;
    return judge(run(Shape{}, Shape::kOwn, kernel, inputs(), dq.data()), dq, exact.dq, rounded.dq);
  }
  template <Mistake mistake>
  std::string keys() {
    using Shape = attention::tensor_core::KeyShape<kColumns, true>;
    const auto kernel = attention::tensor_core::dk_dv_kernel<T, kColumns, attention::Scaled, true,
                                                             !Shape::kApart, mistake>;
    return judge(run(Shape{}, Shape::kOwn, kernel, inputs(), dk.data(), dv.data()), dk, exact.dk,
                 rounded.dk);
  }
  template <Mistake mistake>
  void expect_all_fail() {
    EXPECT_NE(forward<mistake>(), "ran") << static_cast<int>(mistake);
    EXPECT_NE(queries<mistake>(), "ran") << static_cast<int>(mistake);
    EXPECT_NE(keys<mistake>(), "ran") << static_cast<int>(mistake);
  }
  void run_whole() {
    EXPECT_EQ(forward<Mistake::None>(), "ran");
    attention::row_deltas<T>(nullptr, d, problem.dout.data(), out.data(), delta.data());
    EXPECT_EQ(queries<Mistake::None>(), "ran");
    EXPECT_EQ(keys<Mistake::None>(), "ran");
  }
};

TEST(AttentionTensorCore, FailsWithoutAnyOfItsWaitsAndBarriers) {
  Mistaken<64> two_stages;
  Mistaken<256> one_stage;
  device::for_seeds(
      [&] {
        two_stages.run_whole();
        two_stages.expect_all_fail<Mistake::NoCommit>();
        two_stages.expect_all_fail<Mistake::NoWait>();
        two_stages.expect_all_fail<Mistake::NoBarrier>();
        two_stages.expect_all_fail<Mistake::NoWarpBarrier>();
        two_stages.expect_all_fail<Mistake::CopiesTooEarly>();
        EXPECT_NE(two_stages.forward<Mistake::NoSecondWait>(), "ran");
        EXPECT_NE(two_stages.forward<Mistake::NoSecondBarrier>(), "ran");
        one_stage.run_whole();
        EXPECT_NE(one_stage.queries<Mistake::NoSecondBarrier>(), "ran");
        EXPECT_NE(one_stage.keys<Mistake::NoSecondBarrier>(), "ran");
      },
      2);
}

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
