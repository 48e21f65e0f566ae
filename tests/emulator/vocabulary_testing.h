#pragma once

// What the tests of the device vocabulary share. Each of its kernels (vocabulary/) is also compiled
// by nvcc (vocabulary.cu); a kernel takes its mistake as a template parameter.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernels/device/device.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::device {

using testing::AnyOf;
using testing::HasSubstr;

constexpr uint64_t kSeeds = 8;

// The message of the KernelError that running f ends in, or "ran".
template <class F>
std::string outcome(F f) {
  try {
    f();
  } catch (const emulate::KernelError& error) {
    return error.what();
  }
  return "ran";
}

// Calls f() with each of the first seeds set.
template <class F>
void for_seeds(F f, uint64_t seeds = kSeeds) {
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    emulation_seed() = seed;
    f();
  }
}

}  // namespace plinth::device
