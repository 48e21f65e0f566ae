#pragma once

// How messages name groups and ranks.

#include <string>
#include <vector>

#include "distributed/process_group.h"

namespace plinth::distributed {

// "group 'tp', rank 0 of 2"
std::string label_of(const std::string& name, int rank, int size);
// "rank 1", "ranks 1 and 3", "ranks 0, 1 and 3"
std::string list_ranks(const std::vector<int>& ranks);

}  // namespace plinth::distributed
