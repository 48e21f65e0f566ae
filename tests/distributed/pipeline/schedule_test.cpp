#include "distributed/pipeline/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.h"
#include "tests/distributed/pipeline/pipeline_case.h"

namespace plinth::distributed {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<PipelineCase> cases() {
  std::vector<PipelineCase> all;
  for (const int stages : {1, 2, 3, 4, 8}) {
    for (const int rounds : {1, 2, 5}) {
      const int micro_batches = stages * rounds;
      all.push_back({PipelineKind::OneForwardOneBackward, stages, 1, micro_batches});
      all.push_back({PipelineKind::ZeroBubbleH1, stages, 1, micro_batches});
      for (const int chunks : {1, 2, 3})
        all.push_back({PipelineKind::Interleaved, stages, chunks, micro_batches});
    }
    // Fewer micro-batches than stages.
    all.push_back({PipelineKind::OneForwardOneBackward, stages, 1, 1});
    all.push_back({PipelineKind::ZeroBubbleH1, stages, 1, 1});
  }
  return all;
}

PipelineSchedule make(const PipelineCase& c) {
  return make_schedule(c.kind, c.stages, c.chunks, c.micro_batches);
}

std::string text(const PipelineCase& c) {
  return detail::concat(name(c.kind), ", ", c.stages, " stages, ", c.chunks, " chunks, ",
                        c.micro_batches, " micro-batches");
}

template <class Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Argument);
    return error.what();
  }
  return "no error";
}

TEST(PipelineSchedule, EveryMicroBatchPassesEachPieceOnce) {
  for (const PipelineCase& c : cases()) {
    SCOPED_TRACE(text(c));
    const PipelineSchedule schedule = make(c);
    ASSERT_EQ(schedule.actions.size(), static_cast<size_t>(c.stages));
    EXPECT_NO_THROW(validate(schedule));
    for (const auto& actions : schedule.actions) {
      std::map<std::tuple<ActionKind, int, int>, int> times;
      for (const PipelineAction& a : actions) ++times[{a.kind, a.micro_batch, a.chunk}];
      const size_t passes = c.kind == PipelineKind::ZeroBubbleH1 ? 3 : 2;
      EXPECT_EQ(times.size(), passes * c.chunks * c.micro_batches);
      for (const auto& entry : times) EXPECT_EQ(entry.second, 1);
    }
  }
}

// Bubbles of forward 1 and backward 2: (p - 1) / (m + p - 1) of the time; interleaved
// (p - 1) / (v m + p - 1) (Narayanan et al. 2021, sections 2.2.1 and 2.2.2).
TEST(PipelineSchedule, BubblesAreThoseOfThePaper) {
  for (const PipelineCase& c : cases()) {
    if (c.kind == PipelineKind::ZeroBubbleH1) continue;
    SCOPED_TRACE(text(c));
    const PipelineSchedule schedule = make(c);
    const PipelineRun run = simulate(schedule, PipelineTimes::even(schedule, 1, 1, 1));
    const double p = c.stages, work = c.chunks * c.micro_batches;
    EXPECT_NEAR(run.bubble, (p - 1) / (work + p - 1), 1e-12);
    EXPECT_NEAR(run.makespan, 3 * (work + p - 1), 1e-9);
  }
}

// (p - 1) (forward + backward of the input - backward of the weights) (Qi et al. 2023, table 2).
TEST(PipelineSchedule, ZeroBubbleH1WaitsAThirdOf1F1B) {
  for (const int stages : {2, 4, 8}) {
    for (const int micro_batches : {2 * stages, 5 * stages}) {
      const PipelineSchedule schedule =
          make_schedule(PipelineKind::ZeroBubbleH1, stages, 1, micro_batches);
      const PipelineRun run = simulate(schedule, PipelineTimes::even(schedule, 1, 1, 1));
      EXPECT_NEAR(run.makespan, 3 * micro_batches + (stages - 1), 1e-9) << stages;
    }
  }
}

TEST(PipelineSchedule, InFlightIsWhatThePapersSay) {
  const auto peaks = [](PipelineKind kind, int stages, int chunks, int micro_batches) {
    return peak_in_flight(make_schedule(kind, stages, chunks, micro_batches));
  };
  EXPECT_THAT(peaks(PipelineKind::OneForwardOneBackward, 4, 1, 12), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(peaks(PipelineKind::OneForwardOneBackward, 4, 1, 2), ElementsAre(2, 2, 2, 1));
  // As much as 1F1B's first stage, on all.
  EXPECT_THAT(peaks(PipelineKind::ZeroBubbleH1, 4, 1, 12), Each(4));
  // p v + p - 1 pieces: (1 + (p - 1) / (p v)) of 1F1B's memory (Korthikanti et al. 2022, eq. 5).
  EXPECT_EQ(peaks(PipelineKind::Interleaved, 8, 3, 64).front(), 8 * 3 + 8 - 1);
}

TEST(PipelineSchedule, SlowestStageSetsThePace) {
  const auto makespan = [](int micro_batches) {
    const PipelineSchedule schedule =
        make_schedule(PipelineKind::OneForwardOneBackward, 3, 1, micro_batches);
    PipelineTimes times = PipelineTimes::even(schedule, 1, 1, 1);
    times.forward[1] = 2;
    return simulate(schedule, times).makespan;
  };
  EXPECT_DOUBLE_EQ(makespan(30) - makespan(20), 10 * 4);
}

TEST(PipelineSchedule, TransfersDelayWhoeverWaits) {
  const PipelineSchedule schedule = make_schedule(PipelineKind::OneForwardOneBackward, 2, 1, 1);
  const PipelineRun run = simulate(schedule, PipelineTimes::even(schedule, 1, 1, 1, 0.5));
  EXPECT_DOUBLE_EQ(run.makespan, 1 + 0.5 + 3 + 0.5 + 2);
  const PipelineSchedule alone = make_schedule(PipelineKind::Interleaved, 1, 2, 1);
  EXPECT_DOUBLE_EQ(simulate(alone, PipelineTimes::even(alone, 1, 1, 1, 0.5)).makespan, 6);
}

TEST(PipelineSchedule, ActionsOfAStageDoNotOverlap) {
  for (const PipelineCase& c : cases()) {
    SCOPED_TRACE(text(c));
    const PipelineSchedule schedule = make(c);
    const PipelineRun run = simulate(schedule, PipelineTimes::even(schedule, 1, 1.1, 0.9, 0.1));
    for (const auto& stage : run.stages) {
      for (size_t i = 1; i < stage.size(); ++i) EXPECT_GE(stage[i].begin, stage[i - 1].end);
    }
  }
}

TEST(PipelineSchedule, WrongListsAreRefused) {
  const PipelineSchedule right = make_schedule(PipelineKind::OneForwardOneBackward, 2, 1, 4);
  PipelineSchedule wrong = right;
  wrong.actions[0].pop_back();
  EXPECT_THAT(message_of([&] { validate(wrong); }),
              HasSubstr("stage 0, backward of the input of micro-batch 3, chunk 0: is missing"));
  wrong = right;
  wrong.actions[0].push_back({ActionKind::Forward, 0, 0});
  EXPECT_THAT(message_of([&] { validate(wrong); }),
              HasSubstr("stage 0, forward of micro-batch 0, chunk 0: comes a second time"));
  wrong = right;
  wrong.actions[0].push_back({ActionKind::Forward, 4, 0});
  EXPECT_THAT(message_of([&] { validate(wrong); }), HasSubstr("there is no such micro-batch"));
  wrong = right;
  std::swap(wrong.actions[0][0], wrong.actions[0][3]);  // backward before any forward
  EXPECT_THAT(message_of([&] { validate(wrong); }), HasSubstr("waits for what never comes"));
  wrong = right;
  wrong.actions.pop_back();
  EXPECT_THAT(message_of([&] { validate(wrong); }), HasSubstr("lists for 1 stages, takes 2"));
}

TEST(PipelineSchedule, SizesAreChecked) {
  const auto message = [](PipelineKind kind, int stages, int chunks, int micro_batches) {
    return message_of([&] { make_schedule(kind, stages, chunks, micro_batches); });
  };
  EXPECT_THAT(message(PipelineKind::OneForwardOneBackward, 0, 1, 1), HasSubstr("0 stages"));
  EXPECT_THAT(message(PipelineKind::OneForwardOneBackward, 2, 2, 4), HasSubstr("takes 1"));
  EXPECT_THAT(message(PipelineKind::Interleaved, 4, 2, 6), HasSubstr("a multiple of the 4 stages"));
  EXPECT_THAT(message(PipelineKind::ZeroBubbleH1, 1, 1, 1 << 30), HasSubstr("takes at most"));
  EXPECT_THAT(
      message_of([] { simulate(make_schedule(PipelineKind::OneForwardOneBackward, 2, 1, 1), {}); }),
      HasSubstr("takes 2 of each"));
}

}  // namespace
}  // namespace plinth::distributed
