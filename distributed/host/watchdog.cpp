#include "distributed/host/watchdog.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "core/error.h"
#include "distributed/host/label.h"

namespace plinth::distributed {
namespace {

// A rank is silent that does not tell of itself for so many intervals.
constexpr int kBeatsMissed = 4;

std::string describe(int rank, const std::optional<Progress>& progress) {
  const std::string last =
      progress ? detail::concat("last in ", progress->description) : "told of no call";
  return detail::concat("rank ", rank, " (", last, ")");
}

}  // namespace

Watchdog::Watchdog(Board board, int rank, int size, Milliseconds timeout, Hooks hooks)
    : board_(std::move(board)),
      rank_(rank),
      size_(size),
      timeout_(timeout),
      interval_(std::clamp(timeout / 100, Milliseconds(10), Milliseconds(5000))),
      hooks_(std::move(hooks)),
      thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::begun(const Collective& call) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  under_way_.push_back({call, now, now + 2 * interval_});
  if (!is_message(call)) {
    progress_.number = call.number;
    progress_.signature = call.signature();
  }
  progress_.description = call.describe();
  progress_is_new_ = true;
}

void Watchdog::ended() {
  const std::lock_guard lock(mutex_);
  if (under_way_.empty()) return;
  under_way_.pop_front();
  // The next waited for this one so far, not for other ranks.
  if (under_way_.empty()) return;
  const auto now = Clock::now();
  under_way_.front().since = now;
  under_way_.front().compare_at = now + 2 * interval_;
}

void Watchdog::post_failure(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) return;
    failure_ = reason;
    failure_is_new_ = failed_ = true;
  }
  changed_.notify_all();
}

std::string Watchdog::reason_of_others(Milliseconds patience) {
  std::unique_lock lock(mutex_);
  ++impatient_;
  changed_.notify_all();
  heard_.wait_for(lock, patience, [&] { return !reason_of_others_.empty(); });
  --impatient_;
  return reason_of_others_;
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const Milliseconds pause = impatient_ > 0 ? Milliseconds(10) : interval_;
    changed_.wait_for(lock, pause, [&] { return stopping_ || failure_is_new_ || impatient_ > 0; });
    tell(lock);
    if (stopping_ && !failure_is_new_) return;
    look_around(lock);
  }
}

void Watchdog::tell(std::unique_lock<std::mutex>& lock) {
  // While a call is under way others may want to know whether this rank is still there.
  const bool tells_progress = std::exchange(progress_is_new_, false) || !under_way_.empty();
  if (tells_progress) ++progress_.beat;
  const Progress progress = progress_;
  const std::string failure = failure_;
  const bool tells_failure = std::exchange(failure_is_new_, false);
  lock.unlock();
  try {
    if (tells_progress) board_.post(progress);
    if (tells_failure) board_.post_failure(failure);
  } catch (const std::exception&) {
    // Who reads the board misses this rank there, and sees its deadline pass.
  }
  lock.lock();
}

void Watchdog::look_around(std::unique_lock<std::mutex>& lock) {
  std::optional<UnderWay> oldest;
  if (!under_way_.empty()) {
    oldest = under_way_.front();
    const auto now = Clock::now();
    if (now >= oldest->compare_at) under_way_.front().compare_at = now + (now - oldest->since);
  }
  if (!oldest && impatient_ == 0) return;
  lock.unlock();
  std::optional<std::string> others, reason;
  try {
    others = board_.failure();
  } catch (const std::exception&) {
    // As above.
  }
  reason = others ? others : hooks_.look();
  if (!reason && oldest) reason = judge(*oldest);
  lock.lock();
  if (others) reason_of_others_ = *others;
  heard_.notify_all();
  if (!reason || failed_) return;
  failed_ = true;
  lock.unlock();
  hooks_.fail(*reason);
  lock.lock();
}

std::optional<std::string> Watchdog::judge(const UnderWay& oldest) {
  const auto now = Clock::now();
  try {
    if (now >= oldest.compare_at)
      if (const auto different = find_mismatch(oldest.call)) return different;
    if (now - oldest.since < timeout_) return std::nullopt;
    return detail::concat(oldest.call.describe(), " waited ", timeout_.count(), " ms for ",
                          describe_missing(oldest.call));
  } catch (const std::exception& error) {
    if (now - oldest.since < timeout_) return std::nullopt;
    return detail::concat(oldest.call.describe(), " waited ", timeout_.count(),
                          " ms, and the store does not tell for which ranks: ", error.what());
  }
}

std::optional<std::string> Watchdog::find_mismatch(const Collective& call) {
  if (is_message(call)) return std::nullopt;
  for (int r = 0; r < size_; ++r) {
    const auto progress = r == rank_ ? std::nullopt : board_.progress_of(r);
    if (progress && progress->number == call.number && progress->signature != call.signature())
      return detail::concat("rank ", rank_, " called ", call.describe(), ", rank ", r, " called ",
                            progress->signature);
  }
  return std::nullopt;
}

std::string Watchdog::describe_missing(const Collective& call) {
  if (is_message(call)) return describe(call.peer, board_.progress_of(call.peer));
  std::string text;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const auto progress = board_.progress_of(r);
    if (progress && progress->number >= call.number) continue;
    text += (text.empty() ? "" : ", ") + describe(r, progress);
  }
  return text.empty() ? describe_silent() : text;
}

std::string Watchdog::describe_silent() {
  const auto beats = [&] {
    std::vector<uint64_t> all(size_);
    for (int r = 0; r < size_; ++r) all[r] = board_.progress_of(r).value_or(Progress{}).beat;
    return all;
  };
  const std::vector<uint64_t> before = beats();
  {
    // The others may listen for this one, too.
    std::unique_lock lock(mutex_);
    for (int i = 0; i < kBeatsMissed && !stopping_; ++i) {
      changed_.wait_for(lock, interval_, [&] { return stopping_; });
      tell(lock);
    }
  }
  if (const auto reason = board_.failure()) return "the others; " + *reason;
  const std::vector<uint64_t> after = beats();
  std::vector<int> silent;
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && after[r] == before[r]) silent.push_back(r);
  if (silent.empty()) return "the others, which have called it and are there";
  return list_ranks(silent) + " (which called it, and then fell silent)";
}

}  // namespace plinth::distributed
