// Masks and changes of scores of the caller's own in the GPU's attention kernels, by the expression
// in float64 (attention_testing.h).

#include <gmock/gmock.h>

#include "kernels/attention/custom_cuda.cuh"
#include "kernels/attention/plain/plain.h"
#include "kernels/attention/weights_cuda.h"
#include "tests/emulator/attention_mutations.h"

namespace plinth::kernels::cuda::attention_testing {
namespace {

using cpu::AttentionPair;
using cpu::BlockSight;
using cpu::CustomAttention;

// Masks whose maps have empty, partial and full blocks.
enum class Mask : uint8_t { PrefixLm, Documents, Checkerboard, Hole, All };

struct Masked {
  using OnlyTypes = std::tuple<BFloat16, float>;
  static constexpr int64_t kOnlyHeadDims[] = {8, 64, 256};
  static inline int64_t asked = 0;  // how many pairs
  Mask mask;
  int64_t size = 0;

  PLINTH_HOST_DEVICE bool visible(const AttentionPair& at) const {
    ++asked;
    switch (mask) {
      case Mask::PrefixLm: return at.key < size || at.key <= at.query + at.head;
      case Mask::Documents: return at.query / size == at.key / size;
      case Mask::Checkerboard:
        return (at.query / size + at.key / size + at.head + at.batch) % 2 == 0;
      case Mask::Hole:  // no key of two blocks, and no query of another
        return (at.key < 128 || at.key >= 256) && (at.query < 64 || at.query >= 128);
      case Mask::All: return true;
    }
    return false;
  }
};

// A mask and a score that bends with its value, its place and its head.
struct Bent : Masked {
  using OnlyTypes = std::tuple<Float16>;
  static constexpr int64_t kOnlyHeadDims[] = {128};

  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x + C(0.1) * x * x * C(1 + at.head) - C(at.query - at.key) / C(64);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C x, const AttentionPair& at) const {
    return 1 + C(0.2) * x * C(1 + at.head);
  }
};

struct PlainBent : Bent {
  using OnlyTypes = std::tuple<double>;
  static constexpr int64_t kOnlyHeadDims[] = {8};
};

// A change alone.
struct Steeper {
  using OnlyTypes = std::tuple<BFloat16>;
  static constexpr int64_t kOnlyHeadDims[] = {64};

  template <class C>
  PLINTH_HOST_DEVICE C score(C x, const AttentionPair& at) const {
    return x * C(2 + at.head % 2);
  }
  template <class C>
  PLINTH_HOST_DEVICE C slope(C, const AttentionPair& at) const {
    return C(2 + at.head % 2);
  }
};

template <class F>
Functor functor_of(const F& f) {
  Functor result;
  if constexpr (cpu::MasksPairs<F>)
    result.visible = [f](const AttentionPair& at) { return f.visible(at); };
  if constexpr (cpu::ChangesScores<F>) {
    result.score = [f](double x, const AttentionPair& at) {
      return std::pair(f.score(x, at), f.slope(x, at));
    };
  }
  return result;
}

// A case with a functor, whose map the device has made.
template <class T, class F>
struct Custom : Problem<T> {
  CustomAttention<F> custom;
  Buffer<uint8_t> map;

  Custom(const Case& c, const F& f)
      : Problem<T>(c),
        custom(f, this->d, KernelsOf<F>::kernels()),
        map(custom.score().block_count()) {
    auto* const blocks = reinterpret_cast<BlockSight*>(map.data());
    make_block_map(nullptr, this->d, custom.score(), blocks);
    custom.set_map(cpu::MasksPairs<F> ? blocks : nullptr, 0);
    this->d.custom = &custom.score();
    this->functor = functor_of(f);
  }
};

// A functor's kernels of each folder.
template <class T>
const AttentionKernels<T>& table_of(const AttentionDesc& d) {
  return std::get<AttentionKernels<T>>(d.custom->on_cuda->of);
}

template <class T>
Kernels<T> custom_plain() {
  using C = compute_t<T>;
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, C* lse) {
            table_of<T>(d).plain_forward(nullptr, d, q, k, v, out, lse);
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const C* lse, T* dq, T* dk, T* dv) {
            Buffer<C> delta(d.batch * d.heads * d.q_len);
            attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
            table_of<T>(d).plain_backward(nullptr, d, dout, q, k, v, lse, delta.data(), dq, dk, dv);
          }};
}

template <class T>
Kernels<T> custom_tensor_core() {
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, float* lse) {
            table_of<T>(d).tensor_core_forward(nullptr, d, q, k, v, out, lse);
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const float* lse, T* dq, T* dk, T* dv) {
            Buffer<float> delta(d.batch * d.heads * d.q_len);
            attention::row_deltas<T>(nullptr, d, dout, out, delta.data());
            table_of<T>(d).tensor_core_backward(nullptr, d, dout, q, k, v, lse, delta.data(), dq,
                                                dk, dv);
          }};
}

// Gradients beyond 128 columns are those of tensor_core/.
template <class T>
Kernels<T> custom_hopper() {
  return {[](const AttentionDesc& d, const T* q, const T* k, const T* v, T* out, float* lse) {
            ASSERT_EQ(attention::hopper_obstacle(d, q, k, v, out), nullptr);
            Buffer<int32_t> workspace(
                static_cast<int64_t>(attention::hopper_forward_workspace(d) / sizeof(int32_t)));
            table_of<T>(d).hopper_forward(nullptr, d, q, k, v, out, lse, workspace.data());
          },
          [](const AttentionDesc& d, const T* dout, const T* q, const T* k, const T* v,
             const T* out, const float* lse, T* dq, T* dk, T* dv) {
            if (d.head_dim > 128)
              return custom_tensor_core<T>().backward(d, dout, q, k, v, out, lse, dq, dk, dv);
            Buffer<int32_t> workspace(
                static_cast<int64_t>(attention::hopper_backward_workspace<T>(d) / 4));
            table_of<T>(d).hopper_backward(nullptr, d, {dout, q, k, v, out, dq, dk, dv}, lse,
                                           workspace.data());
          }};
}

// The kernels of elements of T, by their names.
template <class T>
using Named = std::vector<std::pair<const char*, Kernels<T>>>;
template <class T>
Named<T> kernels_for() {
  if constexpr (sizeof(T) == 2) {
    return {{"hopper", custom_hopper<T>()}, {"tensor_core", custom_tensor_core<T>()}};
  } else {
    return {{"plain", custom_plain<T>()}};
  }
}
// And those of plain/ for 16-bit types, which differ from the others by the type alone.
Named<BFloat16> all_kernels() {
  Named<BFloat16> all = kernels_for<BFloat16>();
  all.emplace_back("plain", custom_plain<BFloat16>());
  return all;
}

template <class T, class F>
void expect_custom(const Case& c, const F& f) {
  SCOPED_TRACE(c.name + ", head_dim " + std::to_string(c.head_dim));
  const Custom<T, F> problem(c, f);
  for (const auto& [name, kernels] : kernels_for<T>()) {
    SCOPED_TRACE(name);
    expect_matches<T>(kernels, problem);
  }
}

Case remainders(int64_t head_dim) {
  return {.name = "remainders of both tiles, grouped queries",
          .heads = 2,
          .kv_heads = 1,
          .q_len = 70,
          .kv_len = 200,
          .head_dim = head_dim};
}
Case several(int64_t head_dim) {
  return {.name = "several heads and elements",
          .batch = 2,
          .heads = 2,
          .kv_heads = 2,
          .q_len = 40,
          .kv_len = 135,
          .head_dim = head_dim};
}
Case packed(int64_t head_dim) {
  return {.name = "packed",
          .heads = 2,
          .kv_heads = 1,
          .q_len = 120,
          .kv_len = 180,
          .head_dim = head_dim,
          .cu_seqlens_q = {0, 40, 43, 43, 120},
          .cu_seqlens_k = {0, 20, 25, 40, 180}};
}
Case all_else(int64_t head_dim) {
  return {.name = "with all else",
          .batch = 2,
          .heads = 2,
          .kv_heads = 1,
          .q_len = 20,
          .kv_len = 150,
          .head_dim = head_dim,
          .causal = true,
          .window = 130,
          .dropout = 0.2f,
          .kv_lengths = {150, 135},
          .soft_cap = 3,
          .alibi = true,
          .bias = Bias::Whole,
          .sinks = true,
          .dlse = true,
          .gap = 8};
}

template <class T>
void expect_masks(int64_t head_dim) {
  expect_custom<T>(remainders(head_dim), Masked{Mask::PrefixLm, 64});
  expect_custom<T>(several(head_dim), Masked{Mask::Checkerboard, 64});
  expect_custom<T>(packed(head_dim), Masked{Mask::Documents, 70});
  expect_custom<T>(all_else(head_dim), Masked{Mask::PrefixLm, 65});
}

TEST(AttentionCustomKernel, MasksInBFloat16) {
  expect_masks<BFloat16>(64);
}
// Plain kernels are emulated slowly, by their columns.
TEST(AttentionCustomKernel, MasksInFloat32) {
  expect_masks<float>(8);
}
// Tiles of 48 keys on Hopper, beside blocks of 64.
TEST(AttentionCustomKernel, MasksOfHeadDim256) {
  Case c = several(256);
  c.batch = c.heads = c.kv_heads = 1;
  expect_custom<BFloat16>(c, Masked{Mask::Documents, 50});
}

TEST(AttentionCustomKernel, ChangesOfScoresInFloat16) {
  expect_custom<Float16>(several(128), Bent{{Mask::Checkerboard, 24}});
  expect_custom<Float16>(packed(128), Bent{{Mask::PrefixLm, 20}});
  expect_custom<Float16>(all_else(128), Bent{{Mask::PrefixLm, 65}});
}
TEST(AttentionCustomKernel, ChangesOfScoresInFloat64) {
  expect_custom<double>(packed(8), PlainBent{{{Mask::PrefixLm, 20}}});
  expect_custom<double>(all_else(8), PlainBent{{{Mask::PrefixLm, 65}}});
}
TEST(AttentionCustomKernel, AChangeNeedsNoMask) {
  expect_custom<BFloat16>(packed(64), Steeper{});
}

// ---- the map ----

template <class F>
void expect_map_of_cpu(const Case& c, const F& f) {
  Custom<float, F> problem(c, f);
  const CustomAttention<F> host(f, problem.d);
  const cpu::CustomScore &expected = host.score(), &actual = problem.custom.score();
  ASSERT_EQ(actual.block_count(), expected.block_count());
  std::vector<bool> there(3);
  for (int64_t i = 0; i < actual.block_count(); ++i) {
    ASSERT_EQ(actual.blocks[i], expected.blocks[i]) << i;
    there[static_cast<size_t>(expected.blocks[i])] = true;
  }
  EXPECT_THAT(there, testing::Each(true));
}

struct AlikeMasked : Masked {
  static constexpr bool kAllHeadsAlike = true, kAllBatchesAlike = true;
};

TEST(AttentionCustomKernel, TheDeviceMakesTheMapOfTheCpu) {
  expect_map_of_cpu(remainders(64), Masked{Mask::PrefixLm, 64});
  expect_map_of_cpu(packed(64), Masked{Mask::Documents, 70});
  expect_map_of_cpu(remainders(64), AlikeMasked{{Mask::Documents, 70}});
}

// Rows that nobody sees hold NaN, which a product with them would spread, weight 0 or not.
void poison(Buffer<BFloat16>& x, int64_t stride, int64_t first, int64_t last) {
  for (int64_t i = first * stride; i < last * stride; ++i)
    x[i] = BFloat16(std::numeric_limits<float>::quiet_NaN());
}

TEST(AttentionCustomKernel, EmptyTilesAreNeitherReadNorMultiplied) {
  const Case c{.name = "hole", .q_len = 130, .kv_len = 258, .head_dim = 8};
  Custom<BFloat16, Masked> problem(c, {Mask::Hole});
  for (auto* x : {&problem.k, &problem.v}) poison(*x, 8, 128, 256);
  for (auto* x : {&problem.q, &problem.dout}) poison(*x, 8, 64, 128);
  for (const auto& [name, kernels] : all_kernels()) {
    SCOPED_TRACE(name);
    expect_matches<BFloat16>(kernels, problem);
  }
  // By a map that lets nothing be left out they are found.
  for (int64_t i = 0; i < problem.custom.score().block_count(); ++i)
    problem.map[i] = static_cast<uint8_t>(BlockSight::Partial);
  const Results all = run<BFloat16>(custom_hopper<BFloat16>(), problem);
  for (const auto* values : {&all.out, &all.dq, &all.dk, &all.dv})
    EXPECT_TRUE(std::isnan(values->front()));
}

TEST(AttentionCustomKernel, EmptyTilesAreLeftOutOfHeadDim256) {
  const Case c{.name = "hole", .q_len = 5, .kv_len = 258, .head_dim = 256};
  Custom<BFloat16, Masked> problem(c, {Mask::Hole});
  for (auto* x : {&problem.k, &problem.v}) poison(*x, 256, 144, 240);  // two tiles of 48
  expect_matches<BFloat16>(custom_hopper<BFloat16>(), problem);
}

TEST(AttentionCustomKernel, FullTilesAreNotAskedAboutPairs) {
  const Custom<BFloat16, Masked> problem(several(8), {Mask::All});
  for (const auto& [name, kernels] : all_kernels()) {
    Masked::asked = 0;
    run<BFloat16>(kernels, problem);
    EXPECT_EQ(Masked::asked, 0) << name;
  }
}

TEST(AttentionCustomKernel, SameBitsInEveryOrderOfThreads) {
  const Custom<BFloat16, Masked> problem(remainders(64), {Mask::Checkerboard, 64});
  const auto results = [&](uint64_t seed) {
    device::emulation_seed() = seed;
    return run<BFloat16>(custom_hopper<BFloat16>(), problem);
  };
  expect_same_bits(results(1), results(2));
}

TEST(AttentionCustomKernel, FailsOnHopperWithoutAnyBarrierWaitOrFence) {
  std::vector<KernelRun> runs;
  std::vector<Case> cases = mutation_cases(64);
  cases[0].q_len = 5;
  cases[0].batch = 12;
  for (const Case& c : cases) {
    for (const Mask mask : {Mask::All, Mask::Documents}) {
      const auto problem = std::make_shared<Custom<BFloat16, Masked>>(c, Masked{mask, 100});
      runs.emplace_back([problem] { return run<BFloat16>(custom_hopper<BFloat16>(), *problem); });
    }
  }
  expect_none_idle(runs, 60, {"wgmma_commit"});
}

// That the cases above see it if a kernel leaves the functor out, or its slope.
TEST(AttentionCustomKernel, AKernelWithoutTheFunctorIsFarFromIt) {
  const Custom<Float16, Bent> problem(several(128), {{Mask::Checkerboard, 24}});
  const Results exact = exact_results<Float16>(problem),
                rounded = rounded_results<Float16>(problem);
  const auto error_without = [&](const Functor& mistaken, std::vector<double> Results::*of) {
    Problem<Float16> changed(several(128));
    changed.functor = mistaken;
    return largest_error(exact_results(changed).*of, exact.*of);
  };
  const auto bound = [&](std::vector<double> Results::*of) {
    return 3 * largest_error(rounded.*of, exact.*of);
  };
  const Functor& right = problem.functor;
  EXPECT_GT(error_without({nullptr, right.score}, &Results::out), bound(&Results::out));
  EXPECT_GT(error_without({right.visible, nullptr}, &Results::out), bound(&Results::out));
  const Functor flat{right.visible, [&](double x, const AttentionPair& at) {
                       return std::pair(right.score(x, at).first, 1.0);
                     }};
  EXPECT_GT(error_without(flat, &Results::dq), bound(&Results::dq));
}

// ---- dispatch, and the weights ----

TEST(AttentionCustomKernel, ThePathIsThatOfTheFunctor) {
  Custom<BFloat16, Masked> problem(remainders(64), {Mask::All});
  AttentionDesc& d = problem.d;
  const auto path = [&](bool backward) { return attention_path<BFloat16>(d, backward); };
  EXPECT_EQ(path(false).kernel, AttentionKernel::Hopper);
  EXPECT_EQ(path(true).kernel, AttentionKernel::Hopper);
  d.q_len = 3;  // which decode/ would serve
  EXPECT_EQ(path(false).kernel, AttentionKernel::Hopper);
  d.head_dim = 256;
  EXPECT_EQ(path(true).kernel, AttentionKernel::TensorCore);
  EXPECT_THAT(path(true).why, testing::HasSubstr("128"));
  CustomKernels without = *KernelsOf<Masked>::kernels();
  without.has_hopper_code = [] { return false; };
  cpu::CustomScore score;
  score.on_cuda = &without;
  d.custom = &score;
  EXPECT_EQ(path(false).kernel, AttentionKernel::TensorCore);
  EXPECT_EQ(path(false).why, "the functor is not compiled for sm_90a");
}

TEST(AttentionCustomKernel, AReasonNotToTakeHopperIsToldOnce) {
  Custom<BFloat16, Masked> problem(remainders(64), {Mask::All});
  CustomKernels without = *KernelsOf<Masked>::kernels();
  without.has_hopper_code = [] { return false; };
  cpu::CustomScore score = problem.custom.score();
  score.on_cuda = &without;
  Buffer<BFloat16> out(problem.d.batch * problem.d.out.batch);
  Buffer<float> lse(problem.rows);
  const auto told = [&](const AttentionDesc& d) {
    testing::internal::CaptureStderr();
    attention_forward<BFloat16>(nullptr, d, problem.q.data(), problem.k.data(), problem.v.data(),
                                out.data(), lse.data());
    return testing::internal::GetCapturedStderr();
  };
  AttentionDesc d = problem.d;
  EXPECT_EQ(told(d), "");
  d.custom = &score;
  EXPECT_EQ(told(d),
            "plinth: attention on the GPU takes a kernel of mma.sync, which is slower than one of "
            "wgmma: the functor is not compiled for sm_90a\n");
  EXPECT_EQ(told(d), "");
  d.custom = nullptr, d.kv_len = 0;
  EXPECT_EQ(told(d), "");
}

TEST(AttentionCustomKernel, TellsForWhatItIsCompiled) {
  cpu::CustomScore score;
  score.on_cuda = KernelsOf<Masked>::kernels();
  EXPECT_TRUE(custom_has_type<BFloat16>(score));
  EXPECT_TRUE(custom_has_type<float>(score));
  EXPECT_FALSE(custom_has_type<Float16>(score));
  EXPECT_FALSE(custom_has_type<double>(score));
  EXPECT_TRUE(custom_has_head_dim(score, 256));
  EXPECT_FALSE(custom_has_head_dim(score, 80));
}

TEST(AttentionCustomKernel, WeightsAreOfTheFunctor) {
  for (const Case& c : {several(8), packed(8)}) {
    Custom<double, PlainBent> problem(c, {{{Mask::Checkerboard, 24}}});
    Buffer<int64_t> heads(1), rows(2);
    heads.copy_from({1});
    rows.copy_from({c.q_len - 1, 3});
    const int64_t count = c.batch * 2 * c.kv_len;
    Buffer<double> weights(count);
    attention_weights<double>(nullptr, problem.d, 1, heads.data(), 2, rows.data(), problem.q.data(),
                              problem.k.data(), weights.data());
    const CustomAttention<PlainBent> host(problem.custom.functor(), problem.d);
    AttentionDesc d = problem.d;
    d.custom = &host.score();
    std::vector<double> expected(static_cast<size_t>(count));
    cpu::attention_weights<double>(d, 1, heads.data(), 2, rows.data(), problem.q.data(),
                                   problem.k.data(), expected.data());
    expect_close<double>(weights.values(), expected, 16);
  }
}

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
