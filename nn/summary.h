#pragma once

// A table of what a module holds and does: parameters, the shapes that it gives, operations and
// memory, measured by running it.
//
//   std::cout << to_string(nn::summarize(model, "ids int64 [1, 1024]", [&] { model(ids); }));

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace plinth::nn {

struct SummaryRow {
  std::string path;  // "" for the module itself
  std::string type;
  std::optional<Shape> output;  // of its last call, if it was called and gave one tensor
  int64_t calls = 0;
  int64_t parameters = 0;  // of it and what is below; shared ones belong to their first module
  int64_t flops = 0;       // of its calls, as core/flop_counter.h counts
};

struct Summary {
  std::string sample;            // what the module was run on, in words
  std::vector<SummaryRow> rows;  // the module first, then its children
  int64_t parameters = 0;
  int64_t trainable = 0;         // of them, those that take gradients
  int64_t parameter_bytes = 0;   // with buffers
  int64_t gradient_bytes = 0;    // of a training step
  int64_t activation_bytes = 0;  // the most that the run held beyond what it found
  int64_t flops = 0;             // of the run
};

// Runs `run`, which calls the module on a sample, as it is called here: with gradients enabled
// activation_bytes is what a forward pass keeps for backward, under a NoGradGuard what inference
// needs. Modules called by forward() in place of operator() have no row of their own calls.
Summary summarize(Module& module, std::string_view sample, const std::function<void()>& run);

// A table of the modules down to `depth` levels below the first (-1: all), and the totals.
std::string to_string(const Summary& summary, int64_t depth = -1);

}  // namespace plinth::nn
