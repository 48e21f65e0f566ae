#pragma once

// What the ranks of a group tell each other through the store, apart from the data: that they are
// there, how far they are, and why they gave up.

#include <memory>
#include <optional>
#include <string>

#include "distributed/collective.h"
#include "distributed/store/store.h"

namespace plinth::distributed {

// What a rank calls, or called last.
struct Progress {
  uint64_t number = 0;      // of its last collective, which counts messages not
  uint64_t beat = 0;        // another each time that the rank tells of itself
  std::string signature;    // of that collective
  std::string description;  // of its last call
};

class Board {
 public:
  // `store` is this group's own, and new.
  Board(std::shared_ptr<Store> store, int rank, int size);

  // Waits until all ranks have come to `place`, each place once. Throws
  // Error(Io), which names those that did not come within the timeout.
  void meet(const std::string& place, const std::string& label, Milliseconds timeout);

  void post(const Progress& progress);
  std::optional<Progress> progress_of(int rank);
  // Of several ranks that give up, the first is heard.
  void post_failure(const std::string& reason);
  // "rank 2 has given up: ...", where another rank has.
  std::optional<std::string> failure();

 private:
  std::shared_ptr<Store> store_;
  int rank_, size_;
};

}  // namespace plinth::distributed
