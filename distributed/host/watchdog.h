#pragma once

// Watches a group's collectives from a thread of its own: it tells the other ranks how far this one
// is, and fails the group when another rank has given up, has called something else, or did not
// come before the deadline. All of a group's talk with the store is its, so that a store that does
// not answer holds up nothing else.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "distributed/host/board.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

class Watchdog {
 public:
  struct Hooks {
    // Fails the group; called once at most.
    std::function<void(const std::string& reason)> fail;
    // Of the backend's own troubles, if it has to be asked: a reason to fail.
    std::function<std::optional<std::string>()> look = [] { return std::nullopt; };
  };

  Watchdog(Board board, int rank, int size, Milliseconds timeout, Hooks hooks);
  // Tells the others why, if a failure was to be told, and ends.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // A call is under way from begun() to ended(); of several the first is watched.
  void begun(const Collective& call);
  void ended();
  // Tells the other ranks that this one gives up. Does not wait.
  void post_failure(const std::string& reason);
  // What another rank gave as its reason, if it does so soon; empty if not.
  std::string reason_of_others(Milliseconds patience);

  // How often it looks.
  Milliseconds interval() const { return interval_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct UnderWay {
    Collective call;
    Clock::time_point since;
    Clock::time_point compare_at;  // with what the others call
  };

  void run();
  // One look: what is new is told, and what is wrong found.
  void look_around(std::unique_lock<std::mutex>& lock);
  void tell(std::unique_lock<std::mutex>& lock);
  // Why the group has to fail, if it has to.
  std::optional<std::string> judge(const UnderWay& oldest);
  std::optional<std::string> find_mismatch(const Collective& call);
  // The ranks that have not called it; or else those that are silent, as one is that was stopped.
  std::string describe_missing(const Collective& call);
  std::string describe_silent();

  Board board_;
  const int rank_, size_;
  const Milliseconds timeout_, interval_;
  const Hooks hooks_;

  std::mutex mutex_;
  std::condition_variable changed_, heard_;
  std::deque<UnderWay> under_way_;
  Progress progress_;
  std::string failure_, reason_of_others_;
  bool progress_is_new_ = false, failure_is_new_ = false, failed_ = false, stopping_ = false;
  int impatient_ = 0;  // how many wait for reason_of_others_
  std::thread thread_;
};

}  // namespace plinth::distributed
