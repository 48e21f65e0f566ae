#pragma once

// One rank of a group whose others are not there, for a dry run (core/dry_run.h): collectives are
// checked and hold their tensors as ever, and move nothing. So a rank of a large mesh can be run
// alone, to see what memory it takes; no value that comes from others is ever right.
//
// What ranks tell each other of sizes is int64, and is answered: in an all_to_all of equal parts
// others have for this rank what it has for itself; and what arrives from a peer is what was sent
// last, by this rank or by another that has the same DryMail.

#include <cstdint>
#include <memory>
#include <vector>

#include "distributed/process_group.h"

namespace plinth::distributed {

// When a collective is done, and lets go of its tensors. A real run lies between the two: where
// they give the same peak, it has that.
enum class DryTransfers {
  AtOnce,      // when it is called: a network without delay
  WhenWaited,  // when it, or a later one of the group, is waited for: the most memory
};

// The last message of int64.
struct DryMail {
  std::vector<int64_t> words;
};

// Its parts are made by split_by(); split() throws Error(Argument), since what other ranks would
// give is not known. recv() of int64 does for words of another number than was sent.
std::shared_ptr<ProcessGroup> make_dry_group(
    int rank, int size, DryTransfers transfers = DryTransfers::WhenWaited,
    std::shared_ptr<DryMail> mail = std::make_shared<DryMail>());

}  // namespace plinth::distributed
