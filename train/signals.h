#pragma once

// Stopping a run in good order: on the first SIGINT or SIGTERM the loop finishes its step, writes a
// checkpoint and ends; a second one ends the process at once.

namespace plinth {

// While one lives, the first SIGINT or SIGTERM only sets a flag. A signal that was ignored before,
// as under nohup, stays ignored. Several that live at once, as of ranks that are threads, see the
// same signal.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool requested() const { return signal() != 0; }
  // The signal that came, or 0. A shell expects the exit status 128 + signal.
  int signal() const;
};

}  // namespace plinth
