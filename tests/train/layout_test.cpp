#include "tests/train/layout_draw.h"

namespace plinth::layouts {
namespace {

// Of layout_slow_test.cpp's draws a few, and all that ever failed.
TEST(Layouts, FirstDrawsTrainAsOneProcess) {
  for (uint64_t seed = 1; seed <= 6; ++seed) expect_one_process(seed);
}

// Experts that no token reached, in two pieces of a stage.
TEST(Layouts, KeptDrawsTrainAsOneProcess) {
  for (const uint64_t seed : {62}) expect_one_process(seed);
}

}  // namespace
}  // namespace plinth::layouts
