#pragma once

// A store in this process's memory: for ranks that are threads of one process, and what a server
// of a store keeps. Any thread may call it.

#include <condition_variable>
#include <map>
#include <mutex>

#include "distributed/store/store.h"

namespace plinth::distributed {

class HashStore : public Store {
 public:
  void set(std::string_view key, std::string_view value) override;
  std::string get(std::string_view key, Milliseconds timeout) override;
  std::optional<std::string> try_get(std::string_view key) override;
  int64_t add(std::string_view key, int64_t amount) override;
  bool remove(std::string_view key) override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace plinth::distributed
