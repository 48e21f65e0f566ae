#pragma once

// Which elements of a model's parameters each rank owns (ZeRO stages 2 and 3, zero.h).
//
// The parameters lie in one flat order, that of nn::FlatLayout, whatever the ranks. It is cut into
// the chunks over which the gradients' norm is added (nn/clip.h), and ranks own whole chunks, so
// that the norm has the bits of one process. A unit is a set of parameters that are gathered, and
// whose gradients are sent, together; ranks share its chunks about equally. A chunk that lies in
// two units belongs to the rank that owns its beginning: what a unit's ranks own is neither of
// equal sizes nor always in their order, and is described by runs.

#include <cstdint>
#include <vector>

#include "nn/flat.h"

namespace plinth::distributed {

// Neighbouring elements of a unit, rank 0's first, then rank 1's, ...
struct ShardRun {
  int64_t begin = 0;            // in the unit's memory; all numbers here count elements
  std::vector<int64_t> counts;  // of each rank; some may be 0
  int64_t own_begin = 0;        // this rank's: in the unit's memory,
  int64_t own_size = 0;
  int64_t own_offset = 0;  // and among all that this rank owns

  int64_t size() const;
};

struct ShardUnit {
  std::vector<size_t> parameters;  // of the layout
  std::vector<int64_t> offsets;    // of each in the unit's memory
  std::vector<ShardRun> runs;      // the whole of it
  int64_t size = 0;

  int64_t own_size() const;
  // Of the rank that owns most of it.
  int64_t largest_size() const;
};

class ShardPlan {
 public:
  // Elements of the flat order that this rank owns: whole chunks, but for the last one's end.
  struct Owned {
    int64_t begin = 0, size = 0;
    int64_t offset = 0;  // among all that it owns
  };

  // unit_of[p] is the unit of the layout's parameter p, below `units`. Throws Error(Argument) for a
  // layout of several buffers: parameters of more than one dtype.
  ShardPlan(const nn::FlatLayout& layout, const std::vector<size_t>& unit_of, size_t units,
            int64_t chunk, int rank, int ranks);

  const std::vector<ShardUnit>& units() const { return units_; }
  const std::vector<Owned>& owned() const { return owned_; }
  int64_t own_size() const { return own_size_; }

 private:
  struct Owner {
    int64_t begin, end;
    int rank;
  };
  // Parameters of a unit that follow one another in the flat order.
  struct Span {
    size_t unit;
    int64_t begin, end;
  };

  static std::vector<Span> spans_of(const nn::FlatLayout& layout,
                                    const std::vector<size_t>& unit_of);
  void share_chunks(const std::vector<Span>& spans, int64_t chunk, int64_t size);
  void add_runs(const Span& span);

  int rank_, ranks_;
  std::vector<Owner> owners_;  // of the flat order, from its begin to its end
  std::vector<Owned> owned_;
  int64_t own_size_ = 0;
  std::vector<ShardUnit> units_;
};

}  // namespace plinth::distributed
