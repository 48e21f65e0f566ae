#pragma once

// Fault injection for tests of everything that writes files.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace plinth {

// While one lives, the file layer's calls that change the disk (create, write, sync, truncate,
// rename, remove, make a directory) are counted, and from a chosen one on they misbehave. A test
// runs the work once to count its calls, then once for each call and effect, and looks at what is
// on disk. The count is the same on each run that does the same work in one thread.
//
//   FileFaults count;  work();
//   for (int64_t n = 0; n < count.calls(); ++n) {
//     FileFaults faults(FileFaults::Effect::Crash, n);
//     EXPECT_THROW(work(), Error);
//     ...
//   }
//
// For tests only. They may nest; the innermost acts.
class FileFaults {
 public:
  enum class Effect {
    None,        // only counts
    Fail,        // call n fails with the error; the calls after it work
    ShortWrite,  // call n, if a write of two bytes or more, writes half of them and says so
    DiskFull,    // from call n on, a write stores half its bytes, then nothing; ENOSPC
    Crash        // from call n on, nothing reaches the disk, but half of call n if it is a write
  };

  explicit FileFaults(Effect effect = Effect::None, int64_t call = 0, int error = EIO);
  ~FileFaults();
  FileFaults(const FileFaults&) = delete;
  FileFaults& operator=(const FileFaults&) = delete;

  // Calls seen so far.
  int64_t calls() const { return calls_; }

  // For the file layer: what the next call is to do. `error` is 0 if it is to work, on `bytes`
  // bytes.
  struct Verdict {
    int error = 0;
    size_t bytes = 0;
  };
  enum class Call { Write, Other };
  Verdict next(Call call, size_t bytes);
  static FileFaults* active();

 private:
  const Effect effect_;
  const int64_t call_;
  const int error_;
  FileFaults* const outer_;
  std::atomic<int64_t> calls_ = 0;
};

}  // namespace plinth
