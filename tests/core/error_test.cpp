#include "core/error.h"

#include <gtest/gtest.h>

namespace plinth {
namespace {

TEST(Error, MessageJoinsSubjectAndParts) {
  try {
    check(false, ErrorKind::Shape, "layer_norm", "weight has ", 12, " elements, expected ", 16);
    FAIL() << "check did not throw";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "layer_norm: weight has 12 elements, expected 16");
    EXPECT_EQ(error.kind(), ErrorKind::Shape);
    EXPECT_TRUE(error.is_user_error());
  }
}

TEST(Error, PassingCheckDoesNothing) {
  check(true, ErrorKind::Io, "file", "unused");
}

}  // namespace
}  // namespace plinth
