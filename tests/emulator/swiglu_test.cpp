#include "kernels/swiglu/swiglu_cuda.h"

#include <gtest/gtest.h>

#include "kernels/swiglu/swiglu.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct SwigluCase {
  int64_t rows, cols, stride;  // of gate and up
  int64_t shift = 0;           // of gate and up, in elements beyond a 16-byte boundary
};

const SwigluCase kSwigluCases[] = {{1, 1, 1},   {3, 8, 8},      {2, 64, 128},
                                   {5, 77, 77}, {3, 77, 160},   {2, 2056, 2056},
                                   {2, 16, 17}, {3, 32, 64, 1}, {1, 4100, 4100}};

// Against the CPU's float64 kernels, on the numbers that T holds. Gate and up are halves of one
// buffer where the stride has room for both.
template <class T>
void expect_swiglu(const SwigluCase& c) {
  SCOPED_TRACE(testing::Message() << c.rows << " x " << c.cols << " of " << c.stride << " shift "
                                  << c.shift);
  const bool halves = c.stride >= 2 * c.cols;
  const int64_t n = c.rows * c.cols, strided = (halves ? 1 : 2) * c.rows * c.stride;
  const int64_t up_at = halves ? c.cols : c.rows * c.stride;
  Buffer<T> both(strided, c.shift), y(n), dy(n), dboth(strided, c.shift);
  both.fill_random(1);
  dy.fill_random(2);
  dboth.fill_random(3);  // what lies between the rows
  const T *gate = both.data(), *up = both.data() + up_at;
  T *dgate = dboth.data(), *dup = dboth.data() + up_at;
  std::vector<double> y64(n), dboth64 = dboth.values();
  swiglu_forward<T>(nullptr, c.rows, c.cols, gate, c.stride, up, c.stride, y.data());
  swiglu_backward<T>(nullptr, c.rows, c.cols, dy.data(), gate, c.stride, up, c.stride, dgate,
                     c.stride, dup, c.stride);

  const std::vector<double> both64 = both.values(), dy64 = dy.values();
  cpu::swiglu_forward<double>(c.rows, c.cols, both64.data(), c.stride, both64.data() + up_at,
                              c.stride, y64.data());
  cpu::swiglu_backward<double>(c.rows, c.cols, dy64.data(), both64.data(), c.stride,
                               both64.data() + up_at, c.stride, dboth64.data(), c.stride,
                               dboth64.data() + up_at, c.stride);
  expect_each<T>(y.values(), y64);
  expect_each<T>(dboth.values(), dboth64);

  swiglu_backward<T>(nullptr, c.rows, c.cols, dy.data(), gate, c.stride, up, c.stride, both.data(),
                     c.stride, both.data() + up_at, c.stride);
  const std::vector<double> in_place = both.values(), apart = dboth.values();
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t at = i * c.stride; at < i * c.stride + c.cols; ++at) {
      ASSERT_EQ(in_place[at], apart[at]);
      ASSERT_EQ(in_place[up_at + at], apart[up_at + at]);
    }
  }
}

TEST(SwigluKernel, Float32MatchesFloat64) {
  for (const SwigluCase& c : kSwigluCases) expect_swiglu<float>(c);
}
TEST(SwigluKernel, BFloat16MatchesFloat64) {
  for (const SwigluCase& c : kSwigluCases) expect_swiglu<BFloat16>(c);
}
TEST(SwigluKernel, Float16MatchesFloat64) {
  for (const SwigluCase& c : kSwigluCases) expect_swiglu<Float16>(c);
}
TEST(SwigluKernel, Float64MatchesFloat64) {
  for (const SwigluCase& c : kSwigluCases) expect_swiglu<double>(c);
}

}  // namespace
}  // namespace plinth::kernels::cuda
