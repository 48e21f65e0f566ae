#pragma once

// What `plinth memory` prints and draws.

#include <cstddef>
#include <string>
#include <vector>

#include "train/pretrain/dry_run.h"

namespace plinth::apps {

struct RankMemory {
  int rank = 0;
  DryRunReport report;
};

// What was asked for, and the answers.
struct MemoryAnswer {
  std::string title;              // of the run: model, ranks
  std::vector<RankMemory> ranks;  // of all but the one with the highest peak without tensors
  size_t shown = 0;               // that one
};

// Tensors that are alike but for their layer, in one: a line of the table.
struct TensorGroup {
  TracedTensor like;  // its module, and name, with * for numbers
  int64_t count = 0;
  int64_t bytes = 0;
};
// The largest first.
std::vector<TensorGroup> groups_of(const std::vector<TracedTensor>& tensors);

// A line a rank, then kinds and the `top` largest groups of tensors of the one that is shown.
std::string memory_table(const MemoryAnswer& answer, size_t top);
// One JSON object, with every tensor.
std::string memory_json(const MemoryAnswer& answer);
// A picture that stands alone: bytes over the step, by kind.
std::string memory_svg(const MemoryAnswer& answer);

}  // namespace plinth::apps
