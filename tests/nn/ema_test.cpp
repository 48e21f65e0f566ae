#include "nn/ema.h"

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class One : public Module {
 public:
  explicit One(DType dtype = DType::Float64)
      : weight(register_parameter("weight", zeros({2}, {dtype, {}}))) {}
  void set(double value) {
    const NoGradGuard no_grad;
    weight.fill_(value);
  }
  Tensor weight;
};

TEST(Ema, FollowsItsFormula) {
  One one;
  Ema ema(one, {.decay = 0.9, .warm_up = false});
  double expected = 0;
  for (const double value : {1.0, 5.0, -2.0}) {
    one.set(value);
    ema.update();
    expected = 0.9 * expected + 0.1 * value;
  }
  expect_close(find(ema.state_dict(), "average.weight"), {expected, expected}, 1e-15);
}

TEST(Ema, WarmUpForgetsTheStart) {
  One one;
  Ema ema(one, {.decay = 0.9});
  one.set(1);
  ema.update();  // decay 1 / 10
  expect_close(find(ema.state_dict(), "average.weight"), {0.9, 0.9}, 1e-15);
  ema.update();  // decay 2 / 11
  const double expected = 0.9 + (1 - 2.0 / 11) * 0.1;
  expect_close(find(ema.state_dict(), "average.weight"), {expected, expected}, 1e-15);
  for (int i = 0; i < 200; ++i) ema.update();
  one.set(2);
  ema.update();  // 0.9 by now
  expect_close(find(ema.state_dict(), "average.weight"), {1.1, 1.1}, 1e-12);
}

TEST(Ema, ScopeLendsTheAveragesAndPutsTheParametersBack) {
  One one(DType::BFloat16);
  Ema ema(one, {.decay = 0.5, .warm_up = false});
  one.set(1);
  ema.update();
  {
    const EmaScope scope(ema);
    EXPECT_THAT(to_vector(one.weight), ElementsAre(0.5, 0.5));
  }
  EXPECT_THAT(to_vector(one.weight), ElementsAre(1, 1));
  EXPECT_EQ(find(ema.state_dict(), "average.weight").dtype(), DType::Float32);
}

TEST(Ema, ResumesWithTheSameBits) {
  One one;
  Ema straight(one), before(one);
  const auto run = [&](Ema& ema, int from, int to) {
    for (int i = from; i < to; ++i) {
      one.set(0.1 * i);
      ema.update();
    }
  };
  run(straight, 0, 20);
  run(before, 0, 10);
  Ema after(one);
  after.load_state_dict(before.state_dict());
  EXPECT_EQ(after.updates(), 10);
  run(after, 10, 20);
  EXPECT_EQ(to_vector(find(straight.state_dict(), "average.weight")),
            to_vector(find(after.state_dict(), "average.weight")));
}

TEST(Ema, BadArgumentsAreNamed) {
  One one;
  EXPECT_THAT(message_of([&] { Ema(one, {.decay = 1}); }), HasSubstr("decay is 1"));
  Ema ema(one);
  EXPECT_THAT(message_of([&] { ema.load_state_dict({}); }),
              HasSubstr("Ema: missing: average.weight, updates"));
}

}  // namespace
}  // namespace plinth::nn
