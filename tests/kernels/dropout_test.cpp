#include "kernels/dropout/dropout.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

constexpr PhiloxKey kKey{.seed = 42, .step = 3, .op = 5, .sample = 1000};

template <class T>
class Dropout : public ::testing::Test {};
TYPED_TEST_SUITE(Dropout, FloatTypes);

TYPED_TEST(Dropout, FollowsTheDocumentedWords) {
  using C = compute_t<TypeParam>;
  for (int64_t elements : {1, 3, 4, 63, 64, 65, 130, 1029}) {
    const int64_t samples = 5;
    const auto x = random_values<TypeParam>(samples * elements, 1);
    std::vector<TypeParam> y(x.size());
    dropout_forward<TypeParam>(samples, elements, 0.3, kKey, x.data(), y.data());
    for (int64_t s = 0; s < samples; ++s) {
      for (int64_t e = 0; e < elements; ++e) {
        const bool kept = uniform(philox(kKey, s, e / 4)[e % 4]) >= 0.3f;
        const C value = x[s * elements + e];
        const TypeParam expected = kept ? TypeParam(value * C(1 / (1 - 0.3))) : TypeParam(0.0f);
        ASSERT_EQ(as_double(y[s * elements + e]), as_double(expected))
            << elements << " elements, sample " << s << ", element " << e;
      }
    }
  }
}

TYPED_TEST(Dropout, ExtremeProbabilities) {
  const auto x = random_values<TypeParam>(300, 1);
  std::vector<TypeParam> y(300);
  dropout_forward<TypeParam>(2, 150, 0, kKey, x.data(), y.data());
  EXPECT_TRUE(same_bits(y, x));
  dropout_forward<TypeParam>(2, 150, 1, kKey, x.data(), y.data());
  EXPECT_EQ(as_doubles(y), std::vector<double>(300, 0));
}

TYPED_TEST(Dropout, WorksInPlaceAndDropsNaN) {
  auto x = random_values<TypeParam>(2 * 333, 1);
  for (size_t i = 0; i < x.size(); i += 2) x[i] = TypeParam(std::nanf(""));
  std::vector<TypeParam> y(x.size());
  dropout_forward<TypeParam>(2, 333, 0.5, kKey, x.data(), y.data());
  int zeros = 0;
  for (size_t i = 0; i < x.size(); i += 2) zeros += as_double(y[i]) == 0;
  EXPECT_GT(zeros, 100);
  dropout_forward<TypeParam>(2, 333, 0.5, kKey, x.data(), x.data());
  EXPECT_TRUE(same_bits(x, y));
}

TEST(DropoutRate, IsClose) {
  const int64_t n = 1 << 18;
  std::vector<float> x(n, 1), y(n);
  for (double p : {0.1, 0.5, 0.9}) {
    dropout_forward<float>(4, n / 4, p, kKey, x.data(), y.data());
    const auto kept = n - std::count(y.begin(), y.end(), 0.0f);
    EXPECT_NEAR(static_cast<double>(kept) / n, 1 - p, 5 * std::sqrt(p * (1 - p) / n));
  }
}

TEST(DropoutMask, IsThatOfTheSampleWhereverItLies) {
  const auto x = random_values<float>(6 * 100, 1);
  std::vector<float> whole(600), part(300);
  dropout_forward<float>(6, 100, 0.4, kKey, x.data(), whole.data());
  PhiloxKey later = kKey;
  later.sample += 3;
  dropout_forward<float>(3, 100, 0.4, later, x.data() + 300, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 300));
}

// Elements [70, 100) and [250, 1350) of samples of 1400, one run behind the other.
TEST(DropoutMask, OfAPartIsThatPartOfTheWholes) {
  constexpr int64_t kWhole = 1400, kFirst = 30, kPart = 1130;
  const auto x = random_values<float>(2 * kWhole, 1);
  std::vector<float> whole(2 * kWhole), in(2 * kPart), part(2 * kPart), expected(2 * kPart);
  dropout_forward<float>(2, kWhole, 0.4, kKey, x.data(), whole.data());
  const auto take = [&](const std::vector<float>& from, std::vector<float>& to) {
    for (int64_t s = 0; s < 2; ++s) {
      std::copy_n(from.begin() + s * kWhole + 70, kFirst, to.begin() + s * kPart);
      std::copy_n(from.begin() + s * kWhole + 250, kPart - kFirst, to.begin() + s * kPart + kFirst);
    }
  };
  take(x, in);
  take(whole, expected);
  dropout_forward<float>(2, kPart, 0.4, kKey, in.data(), part.data(),
                         {.first = 70, .split = kFirst, .jump = 150});
  EXPECT_EQ(part, expected);
}

}  // namespace
}  // namespace plinth::kernels::cpu
