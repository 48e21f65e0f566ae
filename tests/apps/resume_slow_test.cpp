#include <gtest/gtest.h>

#include "tests/apps/resume_testing.h"

namespace plinth {
namespace {

TEST(Resume, AfterFiftyKillsEndsWithTheBitsOfAnUnbrokenRun) {
  expect_same_bits_after_kills(50, "120", "step-000120");
}

}  // namespace
}  // namespace plinth
