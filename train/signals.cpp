#include "train/signals.h"

#include <signal.h>

#include <array>
#include <atomic>
#include <mutex>

namespace plinth {
namespace {

constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};

std::atomic<int> received = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a handler may not take a lock");

std::mutex mutex;
int living = 0;
std::array<struct sigaction, kSignals.size()> previous;

// Everything here is async-signal-safe.
void on_signal(int signal) {
  received = signal;
  for (const int other : kSignals) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(other, &standard, nullptr);
  }
}

}  // namespace

StopSignals::StopSignals() {
  const std::lock_guard lock(mutex);
  if (living++ > 0) return;
  received = 0;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &previous[i]);
    if (previous[i].sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // reads and writes under way go on
    ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  const std::lock_guard lock(mutex);
  if (--living > 0) return;
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &previous[i], nullptr);
}

int StopSignals::signal() const {
  return received;
}

}  // namespace plinth
