#pragma once

// The backends of the CPU, for tests that run on each of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

using RankBody = std::function<void(ProcessGroup&)>;

struct Backend {
  std::string name;
  int ranks = 1;
  // Calls the body in a thread for each of so many ranks; throws what one of them threw first.
  std::function<void(int ranks, const GroupOptions& options, const RankBody& body)> run_with;

  void run(const RankBody& body) const {
    run_with(ranks, {.timeout = std::chrono::minutes(1)}, body);
  }
};

inline std::ostream& operator<<(std::ostream& out, const Backend& backend) {
  return out << backend.name << backend.ranks;
}

// Each backend with one rank, and each but self with more.
std::vector<Backend> all_backends();
// Each that can have three ranks, with three.
std::vector<Backend> backends_of_ranks();

inline std::string name_of(const testing::TestParamInfo<Backend>& info) {
  return testing::PrintToString(info.param);
}

// The message of the Error that a call throws, whose kind it checks.
inline std::string error_of(ErrorKind kind, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(name(error.kind()), name(kind)) << error.what();
    return error.what();
  }
  return "no error";
}

inline Tensor full(const Shape& shape, double value, DType dtype = DType::Float32) {
  return Tensor::empty(shape, {dtype}).fill_(value);
}

}  // namespace plinth::distributed
