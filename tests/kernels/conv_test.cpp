#include "kernels/conv/conv.h"

#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

// Every way through the kernels: patches that tile the input and that do not, more positions than a
// task's part and than a shared part has, groups, gaps between patches, a kernel in the padding.
const ConvDesc kCases[] = {
    {.batch = 2, .in_channels = 3, .out_channels = 5, .input = {7, 9}, .kernel = {3, 3}},
    {.batch = 2,
     .in_channels = 4,
     .out_channels = 6,
     .groups = 2,
     .input = {6, 11},
     .kernel = {2, 3},
     .stride = {2, 1},
     .padding = {1, 2},
     .dilation = {2, 3}},
    {.batch = 3,
     .in_channels = 3,
     .out_channels = 20,
     .input = {33, 50},
     .kernel = {16, 16},
     .stride = {16, 16}},
    {.batch = 1,
     .in_channels = 2,
     .out_channels = 3,
     .input = {8, 9},
     .kernel = {2, 2},
     .stride = {3, 4},
     .padding = {1, 0}},
    {.batch = 1, .in_channels = 5, .out_channels = 7, .input = {4, 6}},
    {.batch = 1,
     .in_channels = 1,
     .out_channels = 1,
     .input = {1, 2},
     .kernel = {1, 3},
     .stride = {1, 2},
     .padding = {0, 4}},
    {.batch = 2,
     .in_channels = 40,
     .out_channels = 9,
     .input = {1, 3001},
     .kernel = {1, 3},
     .stride = {1, 2},
     .padding = {0, 1}},
    {.batch = 0, .in_channels = 2, .out_channels = 3, .input = {4, 4}, .kernel = {2, 2}},
};

std::string text(const ConvDesc& d) {
  return std::to_string(d.batch) + "x" + std::to_string(d.in_channels) + "x" +
         std::to_string(d.input[0]) + "x" + std::to_string(d.input[1]) + " to " +
         std::to_string(d.out_channels);
}

// Calls f(y's element, weight's, x's) for each product of a convolution; x's is -1 in the padding.
template <class F>
void for_each_term(const ConvDesc& d, F f) {
  for (int64_t y = 0; y < d.batch * d.out_channels * d.positions(); ++y) {
    const int64_t o = y / d.positions() % d.out_channels, n = y / d.positions() / d.out_channels;
    const int64_t p[] = {y % d.positions() / d.output(1), y % d.output(1)};
    for (int64_t k = 0; k < d.depth(); ++k) {
      const int64_t tap[] = {k % d.taps() / d.kernel[1], k % d.kernel[1]};
      int64_t at[2];
      bool inside = true;
      for (int i = 0; i < 2; ++i) {
        at[i] = p[i] * d.stride[i] - d.padding[i] + tap[i] * d.dilation[i];
        inside = inside && at[i] >= 0 && at[i] < d.input[i];
      }
      if (!inside) continue;
      const int64_t c = o / d.group_outputs() * d.group_inputs() + k / d.taps();
      f(y, o * d.depth() + k, ((n * d.in_channels + c) * d.input[0] + at[0]) * d.input[1] + at[1]);
    }
  }
}

template <class T>
struct ConvProblem {
  ConvDesc d;
  std::vector<T> x, weight, bias, dy;

  explicit ConvProblem(const ConvDesc& desc)
      : d(desc),
        x(random_values<T>(d.batch * d.in_channels * d.pixels(), 1)),
        weight(random_values<T>(d.out_channels * d.depth(), 2)),
        bias(random_values<T>(d.out_channels, 3)),
        dy(random_values<T>(d.batch * d.out_channels * d.positions(), 4)) {}

  std::vector<T> forward(bool with_bias = true) const {
    std::vector<T> y(dy.size());
    conv_forward(d, x.data(), weight.data(), with_bias ? bias.data() : nullptr, y.data());
    return y;
  }
  std::vector<T> input_gradient() const {
    std::vector<T> dx(x.size());
    conv_backward_input(d, dy.data(), weight.data(), dx.data());
    return dx;
  }
  std::vector<T> weight_gradient() const {
    std::vector<T> dweight(weight.size());
    conv_backward_weight(d, dy.data(), x.data(), dweight.data());
    return dweight;
  }
};

// The size of the errors, in roundings, of a sum of random terms one after another: as many
// roundings as terms, of sums that grow as the root of their number, and errors likewise. Twice,
// since the reference of float64 errs as much.
double of_terms(int64_t terms) {
  return 4 + 2 * static_cast<double>(terms);
}

template <class T>
class Conv : public ::testing::Test {};
TYPED_TEST_SUITE(Conv, FloatTypes);

TYPED_TEST(Conv, ForwardMatchesALoop) {
  for (const ConvDesc& d : kCases) {
    const ConvProblem<TypeParam> p(d);
    const auto x = as_doubles(p.x), weight = as_doubles(p.weight);
    for (const bool with_bias : {false, true}) {
      std::vector<double> expected(p.dy.size());
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] = with_bias ? as_double(p.bias[i / d.positions() % d.out_channels]) : 0;
      for_each_term(d, [&](int64_t y, int64_t w, int64_t at) { expected[y] += weight[w] * x[at]; });
      expect_close(p.forward(with_bias), expected, 1, text(d), of_terms(1 + d.depth()));
    }
  }
}

TYPED_TEST(Conv, GradientsMatchLoops) {
  for (const ConvDesc& d : kCases) {
    const ConvProblem<TypeParam> p(d);
    const auto x = as_doubles(p.x), weight = as_doubles(p.weight), dy = as_doubles(p.dy);
    std::vector<double> dx(x.size()), dweight(weight.size());
    for_each_term(d, [&](int64_t y, int64_t w, int64_t at) {
      dx[at] += weight[w] * dy[y];
      dweight[w] += dy[y] * x[at];
    });
    expect_close(p.input_gradient(), dx, 1, text(d), of_terms(d.group_outputs() * d.taps()));
    expect_close(p.weight_gradient(), dweight, 1, text(d), of_terms(d.batch * d.positions()));
  }
}

TYPED_TEST(Conv, BitsDoNotDependOnTheThreads) {
  for (const ConvDesc& d : kCases) {
    const ConvProblem<TypeParam> p(d);
    expect_same_on_any_threads([&] { return p.forward(); });
    expect_same_on_any_threads([&] { return p.input_gradient(); });
    expect_same_on_any_threads([&] { return p.weight_gradient(); });
  }
}

TEST(ConvDesc, OutputSizes) {
  ConvDesc d{.input = {5, 10}, .kernel = {3, 4}, .stride = {2, 3}, .padding = {1, 0}};
  EXPECT_EQ(d.output(0), 3);
  EXPECT_EQ(d.output(1), 3);
  d.dilation = {4, 4};
  EXPECT_EQ(d.output(0), 0);
  EXPECT_EQ(d.output(1), 0);
}

}  // namespace
}  // namespace plinth::kernels::cpu
