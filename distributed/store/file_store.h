#pragma once

#include <filesystem>
#include <string>

#include "distributed/store/store.h"

namespace plinth::distributed {

// A store in a directory that all ranks see, of one machine or of a shared file system: a file a
// key. For clusters where no port can be opened.
//
// A key appears as a whole, by a rename; whatever writes holds a lock of the directory (flock,
// which NFS has between hosts, too). get() looks again every 50 ms at the latest; a file system
// that caches names, as NFS does, may show a key some seconds after it was set.
//
// The keys stay when the ranks are gone, so that each run takes a directory of its own. Who may
// write there is the file system's matter.
//
// Errors: Io where the directory cannot be written or read, or another process holds the lock for a
// minute.
class FileStore : public Store {
 public:
  // Makes the directory, if it is missing.
  explicit FileStore(std::filesystem::path directory);

  void set(std::string_view key, std::string_view value) override;
  std::string get(std::string_view key, Milliseconds timeout) override;
  std::optional<std::string> try_get(std::string_view key) override;
  int64_t add(std::string_view key, int64_t amount) override;
  bool remove(std::string_view key) override;

 private:
  std::filesystem::path directory_;
  std::string subject_;
};

}  // namespace plinth::distributed
