#pragma once

// A communicator of NCCL that does not block: a call that is in progress is asked after until it
// is settled, and abort() from another thread ends it.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "distributed/nccl/library.h"
#include "distributed/store/store.h"

namespace plinth::distributed::nccl {

class Communicator {
 public:
  // All ranks call it, each with its device as the thread's current one. Throws Error(Nccl), or
  // Error(Io) if the others do not come within the timeout.
  static std::unique_ptr<Communicator> create(UniqueId id, int rank, int size, std::string label,
                                              Milliseconds timeout);
  // Lets go once what it has sent has arrived; at the latest after some seconds.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // All ranks call it; null for kNoColor.
  std::unique_ptr<Communicator> split(int color, int key);
  int rank() const { return rank_; }
  int size() const { return size_; }

  // Calls call(library, communicator), a function of NCCL or several in a group, and returns when
  // it is settled. Throws Error(Nccl), which says what NCCL says, or Error(Io) after
  // abort().
  using Call = std::function<int(const Library& nccl, void* comm)>;
  void call(const std::string& what, const Call& call);
  // What went wrong since, in words.
  std::optional<std::string> trouble();
  // Ends all work on the device. Any thread may call it.
  void abort();

 private:
  Communicator(std::string label, Milliseconds timeout);

  // Asks for the state until it is another than "in progress".
  int settle(int result, Milliseconds patience);
  void require(const std::string& what, int result);
  std::string describe(int result);

  const Library& nccl_;
  const std::string label_;
  const Milliseconds timeout_;
  std::mutex mutex_;  // of comm_
  void* comm_ = nullptr;
  int rank_ = 0, size_ = 0;
};

}  // namespace plinth::distributed::nccl
