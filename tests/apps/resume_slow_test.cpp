#include <gtest/gtest.h>

#include "tests/apps/resume_testing.h"

namespace plinth {
namespace {

TEST(Resume, AfterFiftyKillsEndsWithTheBitsOfAnUnbrokenRun) {
  expect_same_bits_after_kills(50, "600", "step-000600", "64");
}

}  // namespace
}  // namespace plinth
