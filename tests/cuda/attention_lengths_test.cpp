// Lengths of padded keys that lie on the device, where the host does not read them.

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/flop_counter.h"
#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

using AttentionLengths = OnDevice;

Tensor padded(const Tensor& q, const std::vector<int64_t>& lengths) {
  return attention(q, q, q, {.kv_lengths = from_values(lengths, {2}).to(q.device())});
}

TEST_F(AttentionLengths, CountTheOperationsThatTheCpuCounts) {
  const Tensor q = uniform({2, 1, 3, 4}, -1, 1, {.seed = 1}), there = q.to(kDevice);
  const auto counted = [](const Tensor& x) {
    const FlopCounter counter;
    padded(x, {3, 1});
    return counter.count();
  };
  EXPECT_EQ(counted(there), counted(q));
}

TEST_F(AttentionLengths, OutOfRangeStandForTheNearest) {
  const Tensor q = uniform({2, 1, 3, 4}, -1, 1, {.seed = 1}).to(kDevice);
  const Tensor expected = padded(q, {3, 0}), y = padded(q, {9, -1});
  EXPECT_THROW(synchronize(kDevice), Error);
  EXPECT_EQ(to_vector(y), to_vector(expected));
}

}  // namespace
}  // namespace plinth
