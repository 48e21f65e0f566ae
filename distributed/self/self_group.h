#pragma once

// The group of one rank, on any device: everything is a copy, done in the order of the caller's
// own work.

#include "distributed/process_group.h"

namespace plinth::distributed {

std::shared_ptr<ProcessGroup> make_self_group(GroupOptions options = {});

}  // namespace plinth::distributed
