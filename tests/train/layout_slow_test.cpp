#include "tests/train/layout_draw.h"

namespace plinth::layouts {
namespace {

// A draw that fails is kept: its number goes to layout_test.cpp.
TEST(LayoutFuzzer, TwoHundredDrawsTrainAsOneProcess) {
  for (uint64_t seed = 1; seed <= 200; ++seed) expect_one_process(seed);
}

}  // namespace
}  // namespace plinth::layouts
