#pragma once

#include <string>

#include "distributed/nccl/library.h"
#include "distributed/store/store.h"

namespace plinth::distributed::nccl {

// The identifier of a new communicator, the same on all ranks: rank 0 makes it, the others find it
// in the store. Throws Error(Nccl) where the library is missing, and Error(Io) if rank 0
// does not come within the timeout.
UniqueId exchange_unique_id(Store& store, int rank, const std::string& label, Milliseconds timeout);

}  // namespace plinth::distributed::nccl
