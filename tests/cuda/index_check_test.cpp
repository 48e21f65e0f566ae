// Indices that are out of range on a GPU: the CPU's errors, told when the host waits.

#include "core/index_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "core/ops/rope.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceIndexCheck : public OnDevice {
 protected:
  void TearDown() override {
    if (!IsSkipped()) {
      EXPECT_NO_THROW(synchronize(kDevice)) << "nothing is left behind";
    }
    OnDevice::TearDown();
  }
};

Tensor ids(const std::vector<int64_t>& values, const Shape& shape, Device device) {
  return from_values<int64_t>(values, shape).to(device);
}

// The error of f, "" without one.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Argument);
    return error.what();
  }
  return "";
}

using Call = std::function<Tensor(Device)>;

const std::pair<const char*, Call> kCalls[] = {
    {"embedding",
     [](Device device) {
       return embedding(ones({4, 3}).to(device), ids({0, 3, 4, -1}, {4}, device));
     }},
    {"index_select",
     [](Device device) {
       return index_select(ones({4, 3}).to(device), 1, ids({2, -3}, {2}, device));
     }},
    {"index_add",
     [](Device device) {
       return index_add(ones({2, 3}).to(device), 0, ids({2}, {1}, device), ones({1, 3}).to(device));
     }},
    {"gather",
     [](Device device) {
       return gather(ones({2, 3}).to(device), 1, ids({0, 3}, {2, 1}, device));
     }},
    {"attention",
     [](Device device) {
       const Tensor q = ones({2, 1, 3, 4}).to(device);
       return attention(q, q, q, {.kv_lengths = ids({3, 4}, {2}, device)});
     }},
    {"rope",
     [](Device device) {
       RopeTable table = rope_table(4, 2, 10000);
       table = {table.cos.to(device), table.sin.to(device)};
       return rope(ones({1, 2, 1, 2}).to(device), table, ids({1, 4}, {1, 2}, device));
     }},
    {"cross_entropy",
     [](Device device) {
       return cross_entropy(ones({3, 5}).to(device), ids({-100, 4, 5}, {3}, device));
     }},
    {"linear_cross_entropy",
     [](Device device) {
       return linear_cross_entropy(ones({3, 2}).to(device), ones({5, 2}).to(device),
                                   ids({4, -1, 7}, {3}, device));
     }},
};

TEST_F(DeviceIndexCheck, SaysWhatTheCpuSaysWhenTheHostWaits) {
  // The first products of their kind are timed, for which the host waits.
  linear_cross_entropy(ones({3, 2}).to(kDevice), ones({5, 2}).to(kDevice),
                       ids({4, 1, 0}, {3}, kDevice));
  for (const auto& [op, call] : kCalls) {
    const std::string here = error_of([&] { call({}); });
    EXPECT_THAT(here, testing::StartsWith(std::string(op) + ": "));
    Tensor there;
    EXPECT_EQ(error_of([&] { there = call(kDevice); }), "") << op;
    EXPECT_EQ(error_of([] { synchronize(kDevice); }), here);
    EXPECT_EQ(error_of([&] { to_vector(there); }), "") << op << " is told once";
  }
}

TEST_F(DeviceIndexCheck, TheFirstErrorWins) {
  for (const int64_t bad : {7, 9}) embedding(ones({4, 3}).to(kDevice), ids({bad}, {1}, kDevice));
  Event after(kDevice);
  after.record(current_stream(kDevice));
  EXPECT_EQ(error_of([&] { after.synchronize(); }),
            "embedding: index 7 (element 0) is out of range for a size of 4");
}

TEST_F(DeviceIndexCheck, BackwardOfABadIndexTouchesNothingElse) {
  const Tensor weight = ones({2, 3}).to(kDevice).set_requires_grad();
  const Tensor index = ids({1, 2, -1}, {3}, kDevice);
  sum(embedding(weight, index)).backward();
  EXPECT_NE(error_of([] { synchronize(kDevice); }), "");
  EXPECT_EQ(to_vector(weight.grad()), (std::vector<double>{0, 0, 0, 1, 1, 1}));
}

TEST_F(DeviceIndexCheck, TheMeanCountsOnTheDeviceWhatIsNotIgnored) {
  const Tensor logits = uniform({4, 5}, -1, 1, {.seed = 1});
  for (const std::vector<int64_t>& targets :
       {std::vector<int64_t>{1, -100, 3, 0}, {-100, -100, -100, 2}, {-100, -100, -100, -100}}) {
    double losses[2];
    std::vector<double> gradients[2];
    for (const int i : {0, 1}) {
      const Device device = i == 0 ? Device{} : kDevice;
      const Tensor x = logits.to(device).detach().set_requires_grad();
      const Tensor loss = cross_entropy(x, ids(targets, {4}, device));
      loss.backward();
      losses[i] = loss.item();
      gradients[i] = to_vector(x.grad());
    }
    EXPECT_NEAR(losses[0], losses[1], 1e-6);
    EXPECT_THAT(gradients[1], testing::Pointwise(testing::DoubleNear(1e-6), gradients[0]));
  }
}

}  // namespace
}  // namespace plinth
