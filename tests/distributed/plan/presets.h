#pragma once

// Presets by name. A name that there is not fails the test.

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "distributed/plan/workload.h"

namespace plinth::plan {

inline const Transformer& preset(std::string_view name) {
  for (const Transformer& model : presets()) {
    if (model.name == name) return model;
  }
  ADD_FAILURE() << name;
  return presets().front();
}

inline Workload workload(std::string_view name, int64_t sequence, int64_t batch) {
  return {.model = preset(name), .sequence = sequence, .global_batch = batch};
}

}  // namespace plinth::plan
