#include "nn/schedule.h"

#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::HasSubstr;

TEST(Schedule, FollowsItsFormula) {
  const double e = 1e-15;
  const Schedule constant{.kind = ScheduleKind::Constant, .peak = 2, .warmup = 4};
  const Schedule linear{
      .kind = ScheduleKind::Linear, .peak = 1, .floor = 0.5, .warmup = 2, .steps = 12};
  const Schedule cosine{
      .kind = ScheduleKind::Cosine, .peak = 1, .floor = 0.1, .warmup = 2, .steps = 10};
  Schedule wsd{.kind = ScheduleKind::WarmupStableDecay, .peak = 1, .floor = 0.2, .steps = 20};
  wsd.decay = 4;
  Schedule straight = wsd;
  straight.shape = DecayShape::Linear;
  const struct {
    std::string name;
    Schedule schedule;
    int64_t step;
    double expected;
  } cases[] = {
      {"constant, warm-up", constant, 0, 0.5},
      {"constant, end of warm-up", constant, 3, 2},
      {"constant, later", constant, 1000, 2},
      {"linear, warm-up", linear, 0, 0.5},
      {"linear, peak", linear, 2, 1},
      {"linear, half", linear, 7, 0.75},
      {"linear, end", linear, 12, 0.5},
      {"linear, beyond", linear, 1000, 0.5},
      {"cosine, peak", cosine, 2, 1},
      {"cosine, quarter", cosine, 4, 0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))},
      {"cosine, half", cosine, 6, 0.55},
      {"cosine, end", cosine, 10, 0.1},
      {"wsd, start", wsd, 0, 1},
      {"wsd, last stable", wsd, 16, 1},
      {"wsd, quarter", wsd, 17, 1 - 0.8 * 0.5},
      {"wsd, end", wsd, 20, 0.2},
      {"wsd linear, quarter", straight, 17, 0.8},
  };
  for (const auto& c : cases) {
    c.schedule.validate();
    EXPECT_NEAR(c.schedule.at(c.step), c.expected, e) << c.name;
  }
}

TEST(Schedule, DegenerateLengthsAreFinite) {
  const Schedule all_warmup{.kind = ScheduleKind::Cosine, .peak = 1, .warmup = 5, .steps = 5};
  all_warmup.validate();
  EXPECT_EQ(all_warmup.at(4), 1);
  EXPECT_EQ(all_warmup.at(5), 0);
  const Schedule no_decay{.kind = ScheduleKind::WarmupStableDecay, .peak = 1, .steps = 5};
  EXPECT_EQ(no_decay.at(4), 1);
}

TEST(Schedule, NeverRisesAfterWarmup) {
  for (const auto kind :
       {ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::WarmupStableDecay}) {
    const Schedule schedule{
        .kind = kind, .peak = 3e-4, .floor = 3e-5, .warmup = 10, .steps = 100, .decay = 30};
    for (int64_t step = 10; step < 120; ++step) {
      EXPECT_LE(schedule.at(step + 1), schedule.at(step)) << step;
      EXPECT_GE(schedule.at(step), 3e-5) << step;
    }
  }
}

TEST(Schedule, RefusesAStepBeforeTheFirst) {
  for (const auto kind : {ScheduleKind::Constant, ScheduleKind::Linear, ScheduleKind::Cosine,
                          ScheduleKind::WarmupStableDecay}) {
    for (const int64_t warmup : {0, 4}) {
      const Schedule schedule{.kind = kind, .warmup = warmup, .steps = 8, .decay = 2};
      EXPECT_THAT(message_of([&] { schedule.at(-1); }),
                  HasSubstr("step is -1, expected at least 0"));
    }
  }
}

TEST(Schedule, NamesAreReadAndWrongOnesAnswered) {
  EXPECT_EQ(schedule_kind("wsd"), ScheduleKind::WarmupStableDecay);
  EXPECT_EQ(schedule_kind("linear"), ScheduleKind::Linear);
  EXPECT_THAT(message_of([] { schedule_kind("cosin"); }), HasSubstr("did you mean \"cosine\""));
}

TEST(Schedule, FieldsThatDoNotFitAreNamed) {
  const auto message = [](const Schedule& schedule) {
    return message_of([&] { schedule.validate(); });
  };
  EXPECT_THAT(message({.peak = -1}), HasSubstr("peak is -1"));
  EXPECT_THAT(message({.peak = std::nan("")}), HasSubstr("peak is nan"));
  EXPECT_THAT(message({.peak = 1, .floor = 2}), HasSubstr("floor is 2"));
  EXPECT_THAT(message({.warmup = -1}), HasSubstr("warmup is -1"));
  EXPECT_THAT(message({.kind = ScheduleKind::Linear}), HasSubstr("steps is 0"));
  EXPECT_THAT(message({.kind = ScheduleKind::Linear, .warmup = 9, .steps = 8}),
              HasSubstr("warmup is 9, expected at most"));
  EXPECT_THAT(message({.kind = ScheduleKind::WarmupStableDecay, .steps = 8, .decay = 9}),
              HasSubstr("decay is 9"));
}

}  // namespace
}  // namespace plinth::nn
