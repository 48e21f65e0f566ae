#include "core/io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "core/io/system_calls.h"

namespace plinth {

std::optional<FileLock> FileLock::acquire(const std::filesystem::path& path,
                                          std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  io::FileDescriptor fd = io::open_for_writing(path, O_RDWR | O_CREAT);
  if (fd.get() < 0) io::throw_errno(path, "open for writing");
  const auto deadline = Clock::now() + timeout;
  // flock itself has no deadline, so that it is asked again and again.
  for (std::chrono::microseconds pause(50);;
       pause = std::min(2 * pause, std::chrono::microseconds(20000))) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return FileLock(std::move(fd));
    if (errno != EWOULDBLOCK && errno != EINTR) io::throw_errno(path, "lock");
    if (Clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace plinth
