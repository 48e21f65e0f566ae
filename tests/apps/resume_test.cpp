#include <gtest/gtest.h>

#include "tests/apps/resume_testing.h"

namespace plinth {
namespace {

TEST(Resume, AfterThreeKillsEndsWithTheBitsOfAnUnbrokenRun) {
  expect_same_bits_after_kills(3, "30", "step-000030", "16");
}

}  // namespace
}  // namespace plinth
