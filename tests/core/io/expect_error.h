#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace plinth {

// The message of the Error that f throws.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Runs the work and expects an Error of that kind whose message contains the text.
template <class Work>
void expect_error(ErrorKind kind, const std::string& text, Work&& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one with: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(name(error.kind()), name(kind)) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(text));
  }
}

}  // namespace plinth
