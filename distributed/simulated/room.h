#pragma once

// What the ranks of a simulated group share.

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "distributed/collective.h"
#include "distributed/process_group.h"
#include "distributed/simulated/cost_model.h"

namespace plinth::distributed {

class Room {
 public:
  Room(int size, GroupOptions options, CostModel cost);

  int size() const { return size_; }

  // Makes a rank's part of a collective; returns when it is done for all, with its end on the
  // virtual clock, on which this rank is ready for it at `ready`. Throws Error(Io).
  double make(const Collective& call, int rank, double ready);

  // Whoever waits for anything fails, now and later.
  void give_up(int rank, const std::string& reason);
  // The rank calls nothing more: whoever waits for it fails.
  void leave(int rank);

  // The room of a part of this group, the same for all of its ranks.
  std::shared_ptr<Room> part(uint64_t split, int color, int size, const std::string& name);

 private:
  // The ranks of a collective, or the two of a message, each in its seat.
  struct Meeting {
    explicit Meeting(std::vector<int> of_ranks);
    std::vector<int> ranks;
    std::vector<const Collective*> calls;
    std::vector<void*> scratch;
    std::vector<bool> here;
    std::vector<double> ready;
    size_t arrived = 0, passed = 0;
    uint64_t round = 0, gate = 0;
    double end = 0;
  };

  Meeting& meeting_of(const Collective& call, int rank);
  void gather(Meeting& meeting, size_t seat, const Collective& call, void* scratch, double ready);
  void begin(Meeting& meeting);
  // Waits until all ranks of a meeting have come here; they surely do once it has begun.
  void pass(Meeting& meeting);
  void exchange(Meeting& meeting, const Collective& call, int rank);

  std::vector<int> absent(const Meeting& meeting) const;
  std::string describe_absent(const Meeting& meeting) const;
  std::string why_left(const Meeting& meeting) const;
  void fail(const std::string& reason);
  [[noreturn]] void raise(const Collective& call, int rank) const;

  const int size_;
  const GroupOptions options_;
  const CostModel cost_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string failure_;
  std::vector<std::string> last_call_;
  std::vector<bool> left_;
  Meeting all_;
  std::map<std::pair<int, int>, Meeting> messages_;  // by sender and receiver
  std::map<std::pair<uint64_t, int>, std::shared_ptr<Room>> parts_;
};

}  // namespace plinth::distributed
