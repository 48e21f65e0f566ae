#include "kernels/rope/rope.h"

#include <complex>

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

constexpr int64_t kTableRows = 40;

RopeDesc contiguous(int64_t batch, int64_t seq, int64_t heads, int64_t head_dim, int64_t rotary) {
  const RopeStrides strides{seq * heads * head_dim, heads * head_dim, head_dim};
  return {.batch = batch,
          .seq = seq,
          .heads = heads,
          .head_dim = head_dim,
          .rotary_dim = rotary,
          .in = strides,
          .out = strides};
}

template <class C>
struct Tables {
  std::vector<C> cos, sin;
  explicit Tables(int64_t rotary_dim, const RopeScaling& scaling = {})
      : cos(kTableRows * rotary_dim / 2), sin(cos.size()) {
    rope_table<C>(kTableRows, rotary_dim, 10000, scaling, cos.data(), sin.data());
  }
};

// One head, each pair turned as a complex number.
std::vector<double> turn(std::vector<double> x, int64_t rotary, bool interleaved, double position,
                         double theta = 10000) {
  for (int64_t i = 0; i < rotary / 2; ++i) {
    double& a = x[interleaved ? 2 * i : i];
    double& b = x[interleaved ? 2 * i + 1 : i + rotary / 2];
    const double angle = position * std::pow(theta, -2.0 * i / rotary);
    const auto turned = std::complex<double>(a, b) * std::polar(1.0, angle);
    a = turned.real();
    b = turned.imag();
  }
  return x;
}

template <class T>
class Rope : public ::testing::Test {};
TYPED_TEST_SUITE(Rope, FloatTypes);

TYPED_TEST(Rope, MatchesComplexRotation) {
  for (bool interleaved : {false, true}) {
    for (auto [head_dim, rotary] : {std::pair{2, 2}, {6, 4}, {64, 64}, {80, 32}, {50, 34}}) {
      RopeDesc desc = contiguous(2, 5, 3, head_dim, rotary);
      desc.interleaved = interleaved;
      desc.offset = 7;
      const Tables<compute_t<TypeParam>> tables(rotary);
      const auto x = random_values<TypeParam>(2 * 5 * 3 * head_dim, 1);
      std::vector<TypeParam> y(x.size());
      rope(desc, x.data(), tables.cos.data(), tables.sin.data(), nullptr, y.data());
      for (int64_t head = 0; head < 30; ++head) {
        const auto first = x.begin() + head * head_dim;
        const auto expected = turn(as_doubles(std::vector<TypeParam>(first, first + head_dim)),
                                   rotary, interleaved, 7.0 + (head / 3) % 5);
        const auto out = y.begin() + head * head_dim;
        expect_close(std::vector<TypeParam>(out, out + head_dim), expected, 4,
                     "head " + std::to_string(head), 2);
      }
    }
  }
}

TYPED_TEST(Rope, InverseUndoesItInPlace) {
  for (bool interleaved : {false, true}) {
    RopeDesc desc = contiguous(2, 9, 2, 40, 36);
    desc.interleaved = interleaved;
    const Tables<compute_t<TypeParam>> tables(36);
    const auto x = random_values<TypeParam>(2 * 9 * 2 * 40, 1);
    auto y = x;
    rope(desc, y.data(), tables.cos.data(), tables.sin.data(), nullptr, y.data());
    EXPECT_FALSE(same_bits(x, y));
    desc.inverse = true;
    rope(desc, y.data(), tables.cos.data(), tables.sin.data(), nullptr, y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(as_double(y[i]), as_double(x[i]), 4 * epsilon<TypeParam>());
    }
  }
}

// <dy, R x> = <R^-1 dy, x>: the inverse is the transpose, hence the gradient.
TEST(RopeGradient, IsTheInverseRotation) {
  RopeDesc desc = contiguous(1, 6, 2, 16, 12);
  const Tables<double> tables(12);
  const auto x = random_values<double>(192, 1), dy = random_values<double>(192, 2);
  std::vector<double> y(192), dx(192);
  rope(desc, x.data(), tables.cos.data(), tables.sin.data(), nullptr, y.data());
  desc.inverse = true;
  rope(desc, dy.data(), tables.cos.data(), tables.sin.data(), nullptr, dx.data());
  EXPECT_NEAR(dot(dy, y), dot(dx, x), 1e-12);
}

TEST(RopeLayout, StridesAndPositionsSelectTheSameRotations) {
  // From [batch, seq, heads, dim] inside a wider row (a fused q, k, v buffer) to [batch, heads,
  // seq, dim], with positions written out.
  const int64_t batch = 2, seq = 5, heads = 3, dim = 8, row = 40;
  RopeDesc plain = contiguous(batch, seq, heads, dim, dim);
  RopeDesc strided = plain;
  plain.offset = 4;
  strided.in = {seq * row, row, dim};
  strided.out = {heads * seq * dim, dim, seq * dim};
  const Tables<float> tables(dim);
  const auto wide = random_values<float>(batch * seq * row, 1);
  std::vector<float> x, y(batch * seq * heads * dim), z(y.size());
  std::vector<int64_t> positions;
  for (int64_t t = 0; t < batch * seq; ++t) {
    x.insert(x.end(), wide.begin() + t * row, wide.begin() + t * row + heads * dim);
    positions.push_back(4 + t % seq);
  }
  rope(plain, x.data(), tables.cos.data(), tables.sin.data(), nullptr, y.data());
  rope(strided, wide.data(), tables.cos.data(), tables.sin.data(), positions.data(), z.data());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t s = 0; s < seq; ++s) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t d = 0; d < dim; ++d) {
          EXPECT_EQ(z[((b * heads + h) * seq + s) * dim + d],
                    y[((b * seq + s) * heads + h) * dim + d]);
        }
      }
    }
  }
}

TEST(RopeFrequencies, ScaleAsDescribed) {
  std::vector<double> plain(32), linear(32), llama3(32);
  rope_frequencies(64, 500000, {}, plain.data());
  rope_frequencies(64, 500000, {.kind = RopeScaling::Kind::Linear, .factor = 4}, linear.data());
  rope_frequencies(64, 500000, {.kind = RopeScaling::Kind::Llama3, .factor = 8}, llama3.data());
  EXPECT_EQ(plain[0], 1);
  EXPECT_NEAR(plain[1], std::pow(500000.0, -1.0 / 32), 1e-15);
  for (int i = 0; i < 32; ++i) EXPECT_DOUBLE_EQ(linear[i], plain[i] / 4);
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 8192.0 / 4) {
      EXPECT_EQ(llama3[i], plain[i]) << i;
    }
    if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(llama3[i], plain[i] / 8) << i;
    }
    EXPECT_LE(llama3[i], plain[i]);
    EXPECT_GE(llama3[i], plain[i] / 8 * (1 - 1e-12));
    if (i > 0) {
      EXPECT_LT(llama3[i], llama3[i - 1]) << "monotone through the interpolated band";
    }
  }
  // In the band, at wavelength 4096: smooth = (8192 / 4096 - 1) / (4 - 1) = 1 / 3.
  const double theta = std::pow(4096 / (2 * M_PI), 2);
  double band[2];
  rope_frequencies(4, theta, {.kind = RopeScaling::Kind::Llama3, .factor = 8}, band);
  EXPECT_NEAR(band[1] * 4096 / (2 * M_PI), (2.0 / 3) / 8 + 1.0 / 3, 1e-12);
}

TEST(RopePositions, FirstBadPositionIsFound) {
  const std::vector<int64_t> positions{0, 5, 9, 10, -1};
  EXPECT_EQ(first_bad_position(3, 10, positions.data()), -1);
  EXPECT_EQ(first_bad_position(5, 10, positions.data()), 3);
  EXPECT_EQ(first_bad_position(5, 11, positions.data()), 4);
}

}  // namespace
}  // namespace plinth::kernels::cpu
