#include "tests/c_api/c_api_testing.h"

namespace plinth {
namespace {

constexpr int64_t kParameters = 3;

plinth_optimizer_options options() {
  plinth_optimizer_options o{};
  o.lr = 0.1, o.beta1 = 0.9, o.beta2 = 0.99, o.eps = 1e-8;
  o.weight_decay = 0.01, o.grad_scale = 0.5, o.step = 1;
  return o;
}

using Step = decltype(&plinth_adamw_step);

// Three parameters after one step.
struct Stepped {
  Array<float> value = {1, -2, 3}, gradient = {2, -4, 0}, first = {0, 0, 0}, second = {0, 0, 0};

  Stepped(Step step, const plinth_optimizer_options& o) {
    const plinth_optimizer_tensor tensor = {kParameters,  value.data(),  gradient.data(),
                                            first.data(), second.data(), nullptr};
    EXPECT_OK(step(kTested, nullptr, PLINTH_FLOAT32, PLINTH_FLOAT32, 1, &tensor, &o));
  }
};

TEST(CApi, AdamW) {
  const Stepped p(plinth_adamw_step, options());
  // The first step goes lr against the gradient's sign, besides the decay.
  expect_near(p.value.values(), {0.999 - 0.1, -1.998 + 0.1, 2.997});
  expect_near(p.first.values(), {0.1, -0.2, 0});
  expect_near(p.second.values(), {0.01, 0.04, 0});
}

TEST(CApi, Lion) {
  const Stepped p(plinth_lion_step, options());
  expect_near(p.value.values(), {0.999 - 0.1, -1.998 + 0.1, 2.997});
  expect_near(p.first.values(), {0.01, -0.02, 0});
}

TEST(CApi, SgdWithMomentum) {
  const Stepped p(plinth_sgd_step, options());
  expect_near(p.first.values(), {1.01, -2.02, 0.03});
  expect_near(p.value.values(), {1 - 0.101, -2 + 0.202, 3 - 0.003});
}

TEST(CApi, NarrowParametersTakeWideGradientsAndMasters) {
  Array<BFloat16> value = {1, 1, 1};
  Array<float> gradient = {1, 1, 1}, first(kParameters), second(kParameters), master = {1, 1, 1};
  const plinth_optimizer_tensor tensor = {kParameters,  value.data(),  gradient.data(),
                                          first.data(), second.data(), master.data()};
  plinth_optimizer_options o = options();
  o.lr = 1e-4, o.weight_decay = 0;
  EXPECT_OK(plinth_adamw_step(kTested, nullptr, PLINTH_BFLOAT16, PLINTH_FLOAT32, 1, &tensor, &o));
  expect_near(master.values(), {0.9999, 0.9999, 0.9999}, 1e-7);
  EXPECT_THAT(value.values(),
              testing::Each(1));  // bfloat16 does not hold the step; the master does
}

TEST(CApi, GlobalNorm) {
  Array<float> a = {3, 0}, b = {0, 4, 12};
  const void* const tensors[] = {a.data(), b.data()};
  const int64_t sizes[] = {2, 3};
  Array<double> out(1);
  Workspace workspace([&](size_t* bytes) {
    return plinth_global_norm_workspace(kTested, PLINTH_FLOAT32, 2, tensors, sizes, bytes);
  });
  EXPECT_OK(plinth_global_norm(kTested, nullptr, PLINTH_FLOAT32, 2, tensors, sizes, out.data(),
                               workspace.data(), workspace.bytes()));
  EXPECT_DOUBLE_EQ(out.data()[0], 13);
}

}  // namespace
}  // namespace plinth
