#pragma once

// A collective operation as a backend of ProcessGroup sees it: checked, and down to pointers.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"

namespace plinth::distributed {

enum class CollectiveKind : uint8_t {
  AllReduce,
  ReduceScatter,
  AllGather,
  AllToAll,
  Broadcast,
  Send,
  Recv,
  Barrier
};

// "all_reduce", ...
std::string_view name(CollectiveKind kind);

enum class ReduceOp : uint8_t { Sum, Max, Min };

struct Collective {
  CollectiveKind kind = CollectiveKind::Barrier;
  DType dtype = DType::Float32;
  ReduceOp op = ReduceOp::Sum;
  const void* in = nullptr;
  void* out = nullptr;
  // Elements: of all_reduce, broadcast, send and recv, those of the tensor; of reduce_scatter those
  // of out, of all_gather those of in.
  int64_t count = 0;
  int peer = 0;  // the root of broadcast, and the other rank of send and recv
  // Of all_to_all: elements for and from each rank, in order of ranks, without gaps.
  std::vector<int64_t> sent = {}, received = {};
  // Counts the group's collectives from 1, send and recv apart: ranks of a group issue them in the
  // same order, so that it names one among them.
  uint64_t number = 0;

  // What this rank moves, for messages and the cost model.
  int64_t bytes() const;
  // "all_reduce #17 of float32 [1048576]", "broadcast #3 of int64 [2] from rank 1"
  std::string describe() const;
  // What all ranks of a group have to call alike: describe(), but for all_to_all, of which ranks
  // may send different amounts, without the elements.
  std::string signature() const;
};

// Of two ranks of a group, not of all: send and recv.
bool is_message(const Collective& call);

// Why these calls of all ranks, in order of ranks, are no collective: it names the call of one and
// of another. Empty if they are one.
std::string mismatch(const std::vector<const Collective*>& calls);

}  // namespace plinth::distributed
