#pragma once

// Data parallelism: ranks share the micro-batches of a step, and every rank then has the gradients
// of all of them.
//
//   const int64_t multiple = DataParallel::multiple(*group, device, false);
//   nn::FlatGradients gradients(model.parameters(), {}, multiple);
//   nn::GradientTree tree(gradients);
//   DataParallel parallel(group, gradients);
//   const Share share = share_of(*group, micro_batches);
//   for each step:
//     gradients.zero();
//     tree.begin(share.first);
//     for (int64_t i = 0; i < share.count; ++i) {
//       if (i > 0) tree.next();
//       if (i + 1 == share.count) parallel.begin(tree, micro_batches);
//       loss(share.first + i).backward();
//     }
//     parallel.finish();                  the gradients are the sum over the step
//
// The flat gradients are cut into buckets. While the last micro-batch's backward pass still runs, a
// bucket whose gradients are final is on its way: the last buffer's end first, which is where the
// backward pass begins.
//
// The sum is that of nn::GradientTree over the whole step, whichever ranks hold its micro-batches:
// so one rank and many give the same bits. Of a bucket each rank owns an equal slice, for which all
// ranks send it the few nodes of the tree that they could not add alone (all_to_all); the owner
// adds these as the tree says, and gives the sum to all (all_gather). That moves as much as a
// ring's all_reduce where ranks hold equal power-of-two shares.

#include <chrono>
#include <memory>
#include <vector>

#include "distributed/process_group.h"
#include "nn/gradient_tree.h"

namespace plinth::distributed {

// A rank's micro-batches of a step.
struct Share {
  int64_t first = 0, count = 0;
  int64_t stride = 1;  // from one to the next

  int64_t at(int64_t i) const { return first + i * stride; }
};

// Equal shares, in the order of ranks. Throws Error(Argument) if `micro_batches` is not a multiple
// of the group's size.
Share share_of(const ProcessGroup& group, int64_t micro_batches);

enum class Reduction {
  Tree,    // the same bits on any number of ranks
  Library  // the backend's all_reduce: maybe faster, its bits depend on the number of ranks
};

struct DataParallelOptions {
  Reduction reduction = Reduction::Tree;
  int64_t bucket_bytes = int64_t{25} << 20;
  bool overlap = true;  // false: all buckets are sent when the backward pass is done
  // Each rank gets the sums of its own slices only, for its part of the update (zero.h).
  bool sharded = false;
};

class DataParallel {
 public:
  // What the sizes of flat buffers are multiples of, so that ranks own equal slices, and, if these
  // are sharded, whole chunks of the gradients' norm (nn/clip.h).
  static int64_t multiple(const ProcessGroup& group, Device device, bool sharded);

  // Makes flat buffers in the group's memory (ProcessGroup::make_buffer).
  static nn::BufferMaker memory(std::shared_ptr<ProcessGroup> group);

  // A bucket: elements of one of the flat buffers. Rank r owns the r-th of its equal slices.
  struct Range {
    size_t buffer;
    int64_t begin, size;
  };

  // `gradients` outlives this, and is of multiple(). Throws Error(Argument) if it is not, or for a
  // bucket size that is not positive.
  DataParallel(std::shared_ptr<ProcessGroup> group, nn::FlatGradients& gradients,
               DataParallelOptions options = {});
  ~DataParallel();
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  // The backward pass of this rank's last micro-batch follows, of a step of `total` micro-batches.
  // `tree` has been told of all of this rank's.
  void begin(nn::GradientTree& tree, int64_t total);
  // It is done: sends what has not been sent, waits, and leaves the sum in the gradients. Throws
  // Error(Io).
  void finish();

  // All buckets, in the order in which they are sent.
  std::vector<Range> buckets() const;
  Range own_slice(const Range& bucket) const;

  // Of the last step: for how long finish() waited for others or for transfers, the part of the
  // communication that the backward pass did not hide.
  double exposed_seconds() const { return exposed_seconds_; }

 private:
  struct Bucket : Range {
    int parameters;  // that lie in it
    int missing;     // of those, whose gradient is not final yet
  };
  struct Step;

  void make_buckets();
  void watch_parameters();
  void gradient_is_final(size_t parameter);
  // Sends buckets, in order, as far as they are complete; or all.
  void send_complete(bool all);
  void send(const Bucket& bucket);
  void send_by_tree(const Bucket& bucket);
  void send_by_library(const Bucket& bucket);
  Tensor part_of(size_t part, const Range& range) const;

  std::shared_ptr<ProcessGroup> group_;
  nn::FlatGradients& gradients_;
  DataParallelOptions options_;
  std::vector<Bucket> buckets_;                  // in the order of sending
  std::vector<std::vector<size_t>> buckets_of_;  // of each parameter
  std::shared_ptr<DataParallel*> self_;          // what the parameters' hooks hold
  std::unique_ptr<Step> step_;                   // between begin() and finish()
  Tensors received_;                             // of each dtype's buffer: nodes of a slice
  double exposed_seconds_ = 0;
};

}  // namespace plinth::distributed
