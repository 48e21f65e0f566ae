#pragma once

// Who is with whom after ProcessGroup::split().

#include <vector>

#include "distributed/process_group.h"

namespace plinth::distributed {

struct Part {
  int rank = 0;              // of this rank in the new group
  std::vector<int> members;  // ranks of the old group, in order of the new one's
  int size() const { return static_cast<int>(members.size()); }
};

// All ranks call it, each with its color and key. It waits for all.
Part agree_on_part(ProcessGroup& group, int color, int key);

}  // namespace plinth::distributed
