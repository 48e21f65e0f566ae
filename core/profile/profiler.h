#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/profile/trace.h"

namespace plinth {

// Which part of a run is recorded: the first to the last of the scopes of this name, which are
// counted from 1.
struct ProfileWindow {
  std::string step;  // "train_step"
  int64_t first = 1;
  int64_t last = 1;
};

// Records every thread's scopes, and the activities of GPUs, while the window is open. One at a
// time, made and taken while no op runs.
class Profiler final : public ScopeListener {
 public:
  // Throws Error(Argument) unless 1 <= first <= last.
  explicit Profiler(ProfileWindow window);
  ~Profiler() override;
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  // Ends the recording, if the window is still open, and gives it. Throws Error(Cuda) if a device's
  // work failed meanwhile.
  Trace take();

  void enter(const char* name, ScopeKind kind) override;
  void leave() override;
  void inputs(const Tensors& tensors) override;

 private:
  struct Thread;

  Thread& this_thread();
  bool is_step(const char* name, ScopeKind kind) const;
  void open_window();
  void close_window();

  const ProfileWindow window_;
  const uint64_t number_;  // tells profilers apart that had the same address
  std::atomic<bool> recording_ = false;
  bool with_activities_ = false;
  std::atomic<uint64_t> next_id_ = 1;
  int64_t steps_ = 0;  // begun
  Trace trace_;
  std::exception_ptr failure_;  // of the device, as the window closed
  std::mutex mutex_;            // of threads_
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace plinth
