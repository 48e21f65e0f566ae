#include "kernels/rope/rope_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

struct RopeCase {
  int64_t batch, seq, heads, head_dim, rotary_dim;
  bool interleaved;
  int64_t gap = 0;    // elements between the heads of x
  int64_t shift = 0;  // of x, in elements beyond a 16-byte boundary
};

const RopeCase kRopeCases[] = {
    {1, 1, 1, 2, 2, true},         {1, 1, 1, 2, 2, false},     {2, 3, 2, 32, 32, false},
    {2, 3, 2, 32, 32, true},       {1, 5, 3, 64, 32, false},   {1, 5, 3, 64, 32, true},
    {2, 2, 2, 10, 6, false},       {2, 2, 2, 10, 6, true},     {1, 3, 2, 9, 4, true},
    {1, 2, 5, 128, 128, false, 8}, {1, 2, 3, 16, 16, true, 3}, {1, 2, 3, 32, 32, false, 0, 1},
    {1, 2, 3, 32, 32, true, 0, 1}, {1, 3, 2, 24, 24, false},   {1, 2, 2, 8, 0, false},
};

constexpr int64_t kTableRows = 40;

// Against the CPU's float64 kernel, on the numbers that T holds: x has layout [batch, seq, heads,
// head_dim] with gaps, y [batch, heads, seq, head_dim].
template <class T>
void expect_rope(const RopeCase& c, bool inverse, bool positions_given) {
  SCOPED_TRACE(testing::Message() << c.batch << " x " << c.seq << " x " << c.heads << " x "
                                  << c.head_dim << " rotary " << c.rotary_dim << " interleaved "
                                  << c.interleaved << " gap " << c.gap << " shift " << c.shift
                                  << " inverse " << inverse);
  using C = compute_t<T>;
  const int64_t pitch = c.head_dim + c.gap, half = c.rotary_dim / 2;
  RopeDesc d;
  d.batch = c.batch, d.seq = c.seq, d.heads = c.heads;
  d.head_dim = c.head_dim, d.rotary_dim = c.rotary_dim;
  d.in = {c.seq * c.heads * pitch, c.heads * pitch, pitch};
  d.out = {c.seq * c.heads * c.head_dim, c.head_dim, c.seq * c.head_dim};
  d.interleaved = c.interleaved, d.inverse = inverse, d.offset = 7;
  const int64_t n = c.batch * c.seq * c.heads * c.head_dim;
  Buffer<T> x(c.batch * c.seq * c.heads * pitch, c.shift), y(n);
  Buffer<C> cos(kTableRows * half), sin(kTableRows * half);
  Buffer<int64_t> positions(c.batch * c.seq);
  x.fill_random(1);
  cpu::rope_table<C>(kTableRows, c.rotary_dim, 100.0, {}, cos.data(), sin.data());
  for (int64_t t = 0; t < c.batch * c.seq; ++t) positions[t] = (t * 17 + 3) % kTableRows;
  const int64_t* given = positions_given ? positions.data() : nullptr;
  rope<T>(nullptr, d, x.data(), cos.data(), sin.data(), given, y.data());

  const std::vector<double> in = x.values(), cos64 = cos.values(), sin64 = sin.values();
  std::vector<double> y64(n);
  cpu::rope<double>(d, in.data(), cos64.data(), sin64.data(), given, y64.data());
  expect_close<T>(y.values(), y64, 1);

  d.out = d.in;
  std::vector<double> in_place64 = in;
  cpu::rope<double>(d, in.data(), cos64.data(), sin64.data(), given, in_place64.data());
  rope<T>(nullptr, d, x.data(), cos.data(), sin.data(), given, x.data());
  expect_close<T>(x.values(), in_place64, 1);
}

template <class T>
void expect_all_rope() {
  for (const RopeCase& c : kRopeCases) {
    expect_rope<T>(c, false, false);
    expect_rope<T>(c, true, true);
  }
}

TEST(RopeKernel, Float32MatchesFloat64) {
  expect_all_rope<float>();
}
TEST(RopeKernel, BFloat16MatchesFloat64) {
  expect_all_rope<BFloat16>();
}
TEST(RopeKernel, Float16MatchesFloat64) {
  expect_all_rope<Float16>();
}
TEST(RopeKernel, Float64MatchesFloat64) {
  expect_all_rope<double>();
}

TEST(RopeKernel, BadPositionsAreFound) {
  Buffer<int64_t> positions(5), first(1);
  positions.copy_from({0, 39, 40, -1, 2});
  first_bad_position(nullptr, 5, 40, positions.data(), first.data());
  EXPECT_EQ(first[0], 2);
  first_bad_position(nullptr, 2, 40, positions.data(), first.data());
  EXPECT_EQ(first[0], -1);
  first_bad_position(nullptr, 1, 0, positions.data(), first.data());
  EXPECT_EQ(first[0], 0);
}

}  // namespace
}  // namespace plinth::kernels::cuda
