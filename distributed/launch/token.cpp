#include "distributed/launch/token.h"

#include <sys/stat.h>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/file_lock.h"
#include "distributed/rendezvous.h"
#include "distributed/store/value.h"

namespace plinth::distributed {

std::string shared_token(const std::filesystem::path& file) {
  const mode_t before = ::umask(0077);
  try {
    const std::filesystem::path lock = file.string() + ".lock";
    constexpr std::chrono::minutes patience(1);
    const std::optional<FileLock> held = FileLock::acquire(lock, patience);
    check(held.has_value(), ErrorKind::Io, lock.string(), "is held by another process; waited ",
          seconds(patience), " for it");
    if (!std::filesystem::exists(file)) write_file_atomically(file, random_hex(16) + "\n");
  } catch (...) {
    ::umask(before);
    throw;
  }
  ::umask(before);
  return read_token_file(file);
}

}  // namespace plinth::distributed
