#include "train/checkpoint/train_state.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

TrainState example() {
  TrainState state;
  state.step = 120;
  state.seed = 18446744073709551615u;
  state.loader = "{\"sample\": 3}";
  state.skipped_steps = 2;
  state.bad_in_a_row = 1;
  state.average_loss = 1.0 / 3;
  state.best_step = 100;
  state.best_loss = 0.1 + 0.2;
  state.samples = {{0, "a \"prompt\"", "and\nmore"}};
  return state;
}

TEST(TrainState, SurvivesWritingAndReadingToTheLastBit) {
  const TrainState state = example();
  const TrainState read = TrainState::parse(state.to_json(), "state.json");
  EXPECT_EQ(read.step, state.step);
  EXPECT_EQ(read.seed, state.seed);
  EXPECT_EQ(read.loader, state.loader);
  EXPECT_EQ(read.skipped_steps, state.skipped_steps);
  EXPECT_EQ(read.bad_in_a_row, state.bad_in_a_row);
  EXPECT_EQ(read.average_loss, state.average_loss);
  EXPECT_EQ(read.best_step, state.best_step);
  EXPECT_EQ(read.best_loss, state.best_loss);
  ASSERT_EQ(read.samples.size(), 1u);
  EXPECT_EQ(read.samples[0].prompt, "a \"prompt\"");
  EXPECT_EQ(read.samples[0].continuation, "and\nmore");
}

TEST(TrainState, KeepsWhatIsNotKnownYet) {
  const TrainState read = TrainState::parse(TrainState().to_json(), "state.json");
  EXPECT_TRUE(std::isnan(read.average_loss) && std::isnan(read.best_loss));
  EXPECT_FALSE(read.best_step);
}

TEST(TrainState, RefusesWhatIsNoneNamingTheKey) {
  const auto refused = [](const std::string& from, const std::string& to, const char* message) {
    std::string text = example().to_json();
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
    expect_error(ErrorKind::Format, message, [&] { TrainState::parse(text, "x/state.json"); });
  };
  refused("\"step\": 120", "\"step\": -1",
          "x/state.json: step is -1, takes an integer of at least 0");
  refused("\"step\": 120", "\"stop\": 120", "lacks step");
  refused("\"seed\": 18446744073709551615", "\"seed\": 1.5", "seed is 1.5");
  refused("\"best_step\": 100", "\"best_step\": \"x\"", "best_step is \"x\"");
  refused("\"average_loss\": 0.3333333333333333", "\"average_loss\": []", "takes a number or null");
  refused("\"samples\": [", "\"samples\": 3, \"others\": [", "samples is number, takes a list");
  expect_error(ErrorKind::Format, "expected an object",
               [] { TrainState::parse("[]", "state.json"); });
}

}  // namespace
}  // namespace plinth
