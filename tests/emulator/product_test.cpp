// Products through the emulator's cuBLASLt: the calls, the choice of a kernel and of an algorithm.

#include "kernels/matmul/product_cuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "kernels/activation/activation.h"
#include "kernels/device/emulate/library/cublaslt.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// A clock that says what a test wants, and a memory that it can look into.
class Tuner final : public MatmulTuner {
 public:
  int device() override { return device_number; }
  int capability() override { return capability_number; }
  std::optional<lt::Algorithm> kept(std::string_view problem) override {
    const auto found = memory.find(std::string(problem));
    return found == memory.end() ? std::optional<lt::Algorithm>() : found->second;
  }
  void keep(std::string_view problem, const lt::Algorithm& algorithm) override {
    memory[std::string(problem)] = algorithm;
  }
  bool may_time() override { return times; }
  double milliseconds(const std::function<void()>& give) override {
    const uint64_t before = emulate::cublaslt().products;
    give();
    ++timings;
    const auto runs = static_cast<double>(emulate::cublaslt().products - before);
    return runs * cost.at(emulate::cublaslt().last_algorithm);
  }
  std::shared_ptr<void> scratch(size_t bytes) override {
    const auto buffer = std::make_shared<Buffer<uint8_t>>(static_cast<int64_t>(bytes));
    return {buffer, buffer->data()};
  }

  // A number of its own, so that no test finds another's plans.
  int device_number = next_device++;
  int capability_number = 90;
  bool times = false;
  int timings = 0;
  std::map<uint64_t, double> cost{{0, 1.0}, {1, 1.0}};
  std::map<std::string, lt::Algorithm> memory;

 private:
  static inline int next_device = 0;
};

enum class Layout { Row, Column };

struct Case {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  Layout a = Layout::Row, b = Layout::Row;
  int64_t gap = 0;  // elements after each row (or column)
  bool accumulate = false;
  Epilogue epilogue = Epilogue::None;
};

std::array<int64_t, 3> strides_of(Layout layout, int64_t rows, int64_t columns, int64_t gap) {
  if (layout == Layout::Row) return {rows * (columns + gap), columns + gap, 1};
  return {columns * (rows + gap), 1, rows + gap};
}

// Buffers of a case, and what they should hold afterwards.
template <class A, class B, class C>
struct Operands {
  Operands(const Case& t, int64_t shift = 0)
      : test(t),
        a(t.batch * (t.m + t.gap) * (t.k + t.gap), shift),
        b(t.batch * (t.k + t.gap) * (t.n + t.gap), shift),
        c(t.batch * t.m * (t.n + t.gap), shift),
        bias(t.n),
        aux(t.m * (t.n + t.gap)),
        gradient(t.epilogue == Epilogue::GeluGradient ? t.n : t.m) {
    product.shape = {.batch = t.batch, .m = t.m, .n = t.n, .k = t.k, .accumulate = t.accumulate};
    product.shape.a = strides_of(t.a, t.m, t.k, t.gap);
    product.shape.b = strides_of(t.b, t.k, t.n, t.gap);
    product.shape.c = strides_of(Layout::Row, t.m, t.n, t.gap);
    product.a_dtype = dtype_of<A>;
    product.b_dtype = dtype_of<B>;
    product.c_dtype = dtype_of<C>;
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
    product.epilogue = t.epilogue;
    const bool has_bias = t.epilogue == Epilogue::Bias || t.epilogue == Epilogue::GeluBias;
    if (has_bias) product.bias = bias.data();
    if (t.epilogue == Epilogue::GeluBias || t.epilogue == Epilogue::GeluGradient)
      product.aux = aux.data();
    if (t.epilogue == Epilogue::GeluGradient || t.epilogue == Epilogue::BiasGradient)
      product.bias_gradient = gradient.data();
    a.fill_random(1);
    b.fill_random(2);
    bias.fill_random(3);
    c.fill_random(4);
    aux.fill_random(5);
  }

  // In float64, as [batch, m, n]: a b, with c's values before where it is accumulated.
  std::vector<double> sums() const {
    const auto va = a.values(), vb = b.values(), vc = c.values();
    const cpu::MatmulDesc& s = product.shape;
    std::vector<double> result;
    for (int64_t z = 0; z < s.batch; ++z) {
      for (int64_t i = 0; i < s.m; ++i) {
        for (int64_t j = 0; j < s.n; ++j) {
          double sum = s.accumulate ? vc[z * s.c[0] + i * s.c[1] + j] : 0;
          for (int64_t p = 0; p < s.k; ++p) {
            sum +=
                va[z * s.a[0] + i * s.a[1] + p * s.a[2]] * vb[z * s.b[0] + p * s.b[1] + j * s.b[2]];
          }
          result.push_back(sum);
        }
      }
    }
    return result;
  }
  // The elements of a matrix laid out like c, without the gaps.
  std::vector<double> matrix(const Buffer<C>& from) const {
    const auto values = from.values();
    const cpu::MatmulDesc& s = product.shape;
    std::vector<double> result;
    for (int64_t z = 0; z < s.batch; ++z)
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j) result.push_back(values[z * s.c[0] + i * s.c[1] + j]);
    return result;
  }

  Choice make(Tuner& tuner) {
    const Choice choice = choose(nullptr, tuner, product);
    Buffer<uint8_t> workspace(static_cast<int64_t>(choice.workspace));
    run(nullptr, choice, product, workspace.data());
    return choice;
  }

  Case test;
  Buffer<A> a;
  Buffer<B> b;
  Buffer<C> c;
  Buffer<C> bias, aux, gradient;
  Product product;
};

// Every layout, with odd sizes; accumulated and with a bias.
std::vector<Case> plain_cases() {
  std::vector<Case> cases;
  for (const Layout a : {Layout::Row, Layout::Column})
    for (const Layout b : {Layout::Row, Layout::Column})
      for (const int64_t gap : {0, 3}) cases.push_back({1, 5, 7, 9, a, b, gap});
  cases.push_back({3, 4, 6, 80, Layout::Column, Layout::Row, 0, true});
  cases.push_back({2, 8, 16, 8, Layout::Row, Layout::Column, 8, false, Epilogue::Bias});
  cases.push_back({1, 1, 5, 4});
  cases.push_back({1, 5, 1, 4, Layout::Column, Layout::Column});
  cases.push_back({1, 6, 5, 1, Layout::Row, Layout::Column, 0, true});
  return cases;
}

template <class T, class C>
void expect_plain_cases() {
  for (const Case& t : plain_cases()) {
    SCOPED_TRACE(testing::Message() << t.batch << " of " << t.m << " x " << t.n << " x " << t.k);
    Tuner tuner;
    Operands<T, T, C> x(t);
    std::vector<double> expected = x.sums();
    const auto bias = x.bias.values();
    for (size_t e = 0; t.epilogue == Epilogue::Bias && e < expected.size(); ++e)
      expected[e] += bias[e % t.n];
    const uint64_t before = emulate::cublaslt().products;
    EXPECT_TRUE(x.make(tuner).plan);
    EXPECT_EQ(emulate::cublaslt().products, before + 1);
    expect_close<C>(x.matrix(x.c), expected, 4);
  }
}

TEST(Product, Float64MatchesTheSum) {
  expect_plain_cases<double, double>();
}
TEST(Product, Float32MatchesTheSum) {
  expect_plain_cases<float, float>();
}
TEST(Product, BFloat16MatchesTheSum) {
  expect_plain_cases<BFloat16, BFloat16>();
}
TEST(Product, Float16MatchesTheSum) {
  expect_plain_cases<Float16, Float16>();
}
TEST(Product, NarrowOperandsGiveAFloat32ResultUnrounded) {
  expect_plain_cases<BFloat16, float>();
  expect_plain_cases<Float16, float>();
}

TEST(Product, ThePlainKernelGivesAFloat32ResultToo) {
  emulate::cublaslt().missing = true;
  for (const Case& t : {Case{2, 5, 7, 9, Layout::Row, Layout::Column, 3, true},
                        Case{1, 5, 7, 9, Layout::Row, Layout::Row, 0, false, Epilogue::Bias}}) {
    Tuner tuner;
    Operands<BFloat16, BFloat16, float> x(t);
    std::vector<double> expected = x.sums();
    const auto bias = x.bias.values();
    for (size_t e = 0; t.epilogue == Epilogue::Bias && e < expected.size(); ++e)
      expected[e] += bias[e % t.n];
    EXPECT_FALSE(x.make(tuner).plan);
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  emulate::cublaslt().missing = false;
}

TEST(Product, Tf32RoundsOperandsOnlyWhereItIsAllowed) {
  Tuner tuner;
  Operands<float, float, float> x({1, 1, 1, 1});
  x.a[0] = 1 + 0x1p-12f;
  x.b[0] = 1;
  x.make(tuner);
  EXPECT_EQ(x.c[0], 1 + 0x1p-12f);
  x.product.allow_tf32 = true;
  x.make(tuner);
  EXPECT_EQ(x.c[0], 1);
}

// ---- epilogues ----

double gelu(double x) {
  double y = 0;
  cpu::gelu_tanh_forward<double>(1, &x, &y);
  return y;
}
double gelu_gradient(double x, double dy) {
  double dx = 0;
  cpu::gelu_tanh_backward<double>(1, &dy, &x, &dx);
  return dx;
}

template <class T>
void expect_gelu() {
  Tuner tuner;
  Operands<T, T, T> x(
      {.m = 5, .n = 16, .k = 12, .b = Layout::Column, .gap = 8, .epilogue = Epilogue::GeluBias});
  std::vector<double> before = x.sums(), after;
  const auto bias = x.bias.values();
  for (size_t e = 0; e < before.size(); ++e) {
    before[e] += bias[e % 16];
    after.push_back(gelu(before[e]));
  }
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<T>(x.matrix(x.aux), before, 4);
  expect_close<T>(x.matrix(x.c), after, 8);
}

TEST(Product, GeluOfTheBiasedSumWithItsInput) {
  expect_gelu<BFloat16>();
  expect_gelu<Float16>();
}

template <class T>
void expect_gelu_gradient() {
  Tuner tuner;
  Operands<T, T, T> x({.m = 6, .n = 24, .k = 5, .epilogue = Epilogue::GeluGradient});
  std::vector<double> expected = x.sums(), bias(24);
  const auto inputs = x.matrix(x.aux);
  for (size_t e = 0; e < expected.size(); ++e) {
    expected[e] = gelu_gradient(inputs[e], expected[e]);
    bias[e % 24] += expected[e];
  }
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<T>(x.matrix(x.c), expected, 8);
  expect_close<T>(x.gradient.values(), bias, 8);
}

TEST(Product, GeluGradientAndItsColumnSums) {
  expect_gelu_gradient<BFloat16>();
}

template <class T, class C>
void expect_bias_gradient() {
  Tuner tuner;
  Operands<T, T, C> x(
      {.m = 7, .n = 5, .k = 30, .a = Layout::Column, .epilogue = Epilogue::BiasGradient});
  const auto expected = x.sums(), a = x.a.values();
  std::vector<double> bias(7);
  for (int64_t p = 0; p < 30; ++p)
    for (int64_t i = 0; i < 7; ++i) bias[i] += a[p * 7 + i];
  ASSERT_TRUE(x.make(tuner).plan);
  expect_close<C>(x.matrix(x.c), expected, 4);
  expect_close<C>(x.gradient.values(), bias, 4);
}

TEST(Product, BiasGradientIsTheSumOverK) {
  expect_bias_gradient<float, float>();
  expect_bias_gradient<BFloat16, BFloat16>();
  expect_bias_gradient<BFloat16, float>();
}

// ---- float8 ----

template <class A, class B, class C>
void expect_float8(const Case& t, bool with_library) {
  Tuner tuner;
  tuner.capability_number = with_library ? 89 : 80;
  Operands<A, B, C> x(t);
  Buffer<float> scales(2);
  scales[0] = 0.25f;
  scales[1] = 3;
  x.product.a_scale = scales.data();
  x.product.b_scale = scales.data() + 1;
  std::vector<double> expected = x.sums();
  const auto bias = x.bias.values();
  for (size_t e = 0; e < expected.size(); ++e)
    expected[e] = expected[e] * 0.75 + (t.epilogue == Epilogue::Bias ? bias[e % t.n] : 0);
  EXPECT_EQ(x.make(tuner).plan != nullptr, with_library);
  expect_close<C>(x.matrix(x.c), expected, 4);
}

TEST(Product, Float8ScalesTheSum) {
  for (const bool with_library : {true, false}) {
    const Case t{.m = 16, .n = 32, .k = 48, .b = Layout::Column};
    Case biased = t;
    biased.epilogue = Epilogue::Bias;
    expect_float8<Float8_e4m3, Float8_e4m3, BFloat16>(biased, with_library);
    expect_float8<Float8_e5m2, Float8_e4m3, Float16>(t, with_library);
    expect_float8<Float8_e4m3, Float8_e5m2, float>(t, with_library);
  }
}

// ---- which kernel, and why ----

std::string why(const Product& product, int capability = 90) {
  Tuner tuner;
  tuner.capability_number = capability;
  const Choice choice = choose(nullptr, tuner, product);
  EXPECT_EQ(choice.plan != nullptr, choice.why == "cuBLASLt takes it");
  return std::string(choice.why);
}

TEST(Product, SaysWhyThePlainKernelIsTaken) {
  using testing::HasSubstr;
  const Case t{.m = 16, .n = 16, .k = 16};
  Operands<float, float, float> x(t);
  EXPECT_EQ(why(x.product), "cuBLASLt takes it");
  Product p = x.product;
  p.shape.k = 0;
  EXPECT_THAT(why(p), HasSubstr("a dimension is 0"));
  p = x.product;
  p.shape.a = {0, 32, 2};
  EXPECT_THAT(why(p), HasSubstr("neither stride 1"));
  p = x.product;
  p.shape.c = {0, 1, 16};
  EXPECT_THAT(why(p), HasSubstr("columns are not adjacent"));
  p = x.product;
  p.shape.m = int64_t{1} << 31;
  EXPECT_THAT(why(p), HasSubstr("int32"));
  p = x.product;
  p.shape.batch = 2;
  p.shape.c[0] = 0;
  EXPECT_THAT(why(p), HasSubstr("overlap"));

  Operands<double, double, double> wide(
      {.m = 16, .n = 16, .k = 16, .epilogue = Epilogue::BiasGradient});
  EXPECT_THAT(why(wide.product), HasSubstr("no form of this dtype"));
  Case gelu{.m = 4, .n = 5, .k = 4, .epilogue = Epilogue::GeluBias};
  Operands<BFloat16, BFloat16, BFloat16> odd(gelu);
  EXPECT_THAT(why(odd.product), HasSubstr("multiple of 8"));
  Operands<float, float, float> exact(gelu);
  EXPECT_THAT(why(exact.product), HasSubstr("float32 results"));

  Operands<Float8_e4m3, Float8_e4m3, float> narrow(
      {.m = 16, .n = 16, .k = 16, .b = Layout::Column});
  EXPECT_EQ(why(narrow.product), "cuBLASLt takes it");
  EXPECT_THAT(why(narrow.product, 80), HasSubstr("8.9"));
  Operands<Float8_e4m3, Float8_e4m3, float> rows(t);
  EXPECT_THAT(why(rows.product), HasSubstr("k adjacent"));
  Operands<Float8_e4m3, Float8_e4m3, float> shifted(
      {.m = 16, .n = 16, .k = 16, .b = Layout::Column}, 1);
  EXPECT_THAT(why(shifted.product), HasSubstr("16 bytes"));
}

TEST(Product, WithoutTheLibraryTellsOnce) {
  emulate::cublaslt().missing = true;
  testing::internal::CaptureStderr();
  for (int i = 0; i < 2; ++i) {
    Tuner tuner;
    Operands<float, float, float> x({.m = 3, .n = 4, .k = 5});
    const auto expected = x.sums();
    const Choice choice = x.make(tuner);
    EXPECT_FALSE(choice.plan);
    EXPECT_EQ(choice.why, "libcublasLt.so: not found");
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  const std::string told = testing::internal::GetCapturedStderr();
  // An earlier test of this process may have made it tell already.
  EXPECT_LE(std::count(told.begin(), told.end(), '\n'), 1);
  emulate::cublaslt().missing = false;
}

TEST(Product, AnEpilogueThatOnlyTheLibraryHasIsNoneOfThePlainKernel) {
  emulate::cublaslt().missing = true;
  Tuner tuner;
  Operands<float, float, float> x({.m = 8, .n = 8, .k = 8, .epilogue = Epilogue::GeluBias});
  EXPECT_THROW(x.make(tuner), std::logic_error);
  emulate::cublaslt().missing = false;
}

// ---- which algorithm ----

const Case kDeep{.m = 8, .n = 8, .k = 128};  // the emulator offers to split its sums

TEST(Product, TakesTheHeuristicsFirstWhereNothingMayBeTimed) {
  Tuner tuner;
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
  EXPECT_EQ(tuner.timings, 0);
  EXPECT_TRUE(tuner.memory.empty());
}

TEST(Product, KeepsTheFastestAndTimesOnce) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.5}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  EXPECT_EQ(tuner.memory.size(), 1u);
  const int timings = tuner.timings;
  const uint64_t heuristics = emulate::cublaslt().heuristics;
  x.make(tuner);
  EXPECT_EQ(tuner.timings, timings);
  EXPECT_EQ(emulate::cublaslt().heuristics, heuristics);

  Tuner later;  // as in the next process
  later.memory = tuner.memory;
  x.make(later);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  EXPECT_EQ(emulate::cublaslt().heuristics, heuristics);
}

TEST(Product, PassesOverWhatTheLibraryProposesAndThenRefuses) {
  for (const auto& [refused, taken] : {std::pair(1, 1u), {2, 0u}}) {
    emulate::cublaslt().refused = refused;
    Tuner tuner;
    tuner.times = true;
    Operands<float, float, float> x(kDeep);
    const auto expected = x.sums();
    const Choice choice = x.make(tuner);
    EXPECT_EQ(choice.plan != nullptr, refused == 1);
    if (choice.plan) {
      EXPECT_EQ(emulate::cublaslt().last_algorithm, taken);
    }
    expect_close<float>(x.matrix(x.c), expected, 4);
  }
  emulate::cublaslt().refused = 0;
}

TEST(Product, StaysWithTheFirstWhereAnotherIsHardlyFaster) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.99}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
}

// The emulator's algorithms 2 and 3 join parts of sums in the result.
TEST(Product, NeverTakesAnAlgorithmThatJoinsSumsInTheResult) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 2.0}, {2, 0.1}, {3, 0.1}};
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
  ASSERT_EQ(tuner.memory.size(), 1u);
  lt::Algorithm& kept = tuner.memory.begin()->second;
  kept.words[0] = 2;  // as a file may say that somebody wrote by hand
  Tuner later;
  later.memory = tuner.memory;
  x.make(later);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 0u);
}

TEST(Product, IgnoresAKeptAlgorithmOfAnotherProblem) {
  Tuner tuner;
  tuner.times = true;
  Operands<float, float, float> x(kDeep);
  x.make(tuner);
  Tuner later;
  for (const auto& [name, algorithm] : tuner.memory) later.memory[name].words.fill(7);
  const auto expected = x.sums();
  EXPECT_TRUE(x.make(later).plan);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

TEST(Product, TimingLeavesAccumulatedResultsAlone) {
  Tuner tuner;
  tuner.times = true;
  Case t = kDeep;
  t.accumulate = true;
  Operands<float, float, float> x(t);
  const auto expected = x.sums();
  x.make(tuner);
  EXPECT_GT(tuner.timings, 0);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

TEST(Product, SplitSumsMatchToo) {
  Tuner tuner;
  tuner.times = true;
  tuner.cost = {{0, 1.0}, {1, 0.5}};
  Operands<BFloat16, BFloat16, float> x(kDeep);
  const auto expected = x.sums();
  x.make(tuner);
  EXPECT_EQ(emulate::cublaslt().last_algorithm, 1u);
  expect_close<float>(x.matrix(x.c), expected, 4);
}

}  // namespace
}  // namespace plinth::kernels::cuda
