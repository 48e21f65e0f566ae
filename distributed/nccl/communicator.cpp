#include "distributed/nccl/communicator.h"

#include <chrono>
#include <thread>
#include <utility>

#include "core/error.h"

namespace plinth::distributed::nccl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kPause(50);
// What is in flight when a group is let go takes no longer, unless somebody is gone.
constexpr Milliseconds kFarewell(10'000);

}  // namespace

Communicator::Communicator(std::string label, Milliseconds timeout)
    : nccl_(library()), label_(std::move(label)), timeout_(timeout) {}

std::unique_ptr<Communicator> Communicator::create(UniqueId id, int rank, int size,
                                                   std::string label, Milliseconds timeout) {
  std::unique_ptr<Communicator> made(new Communicator(std::move(label), timeout));
  made->rank_ = rank;
  made->size_ = size;
  Config config;
  const int result = made->nccl_.comm_init(&made->comm_, size, id, rank, &config);
  made->require("ncclCommInitRankConfig", made->settle(result, timeout));
  return made;
}

Communicator::~Communicator() {
  if (!comm_) return;
  if (settle(nccl_.comm_finalize(comm_), std::min(timeout_, kFarewell)) == kSuccess)
    nccl_.comm_destroy(comm_);
  else
    abort();
}

std::unique_ptr<Communicator> Communicator::split(int color, int key) {
  std::unique_ptr<Communicator> part(new Communicator(label_, timeout_));
  Config config;
  call("ncclCommSplit", [&](const Library& nccl, void* comm) {
    return nccl.comm_split(comm, color, key, &part->comm_, &config);
  });
  if (!part->comm_) return nullptr;
  part->require("ncclCommSplit", part->settle(kInProgress, timeout_));
  part->require("ncclCommCount", nccl_.comm_count(part->comm_, &part->size_));
  part->require("ncclCommUserRank", nccl_.comm_rank(part->comm_, &part->rank_));
  return part;
}

void Communicator::call(const std::string& what, const Call& call) {
  int result = kSuccess;
  {
    const std::lock_guard lock(mutex_);
    check(comm_ != nullptr, ErrorKind::Io, what, label_, " was aborted");
    result = call(nccl_, comm_);
  }
  require(what, settle(result, timeout_));
}

int Communicator::settle(int result, Milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  // A call may say that all is well while its work goes on, as ncclCommWindowRegister of 2.28 does:
  // only the communicator knows.
  if (result == kSuccess) result = kInProgress;
  while (result == kInProgress && Clock::now() < deadline) {
    {
      const std::lock_guard lock(mutex_);
      if (!comm_) return kInProgress;
      int state = kSuccess;
      const int asked = nccl_.comm_error(comm_, &state);
      result = asked == kSuccess ? state : asked;
    }
    if (result == kInProgress) std::this_thread::sleep_for(kPause);
  }
  return result;
}

void Communicator::require(const std::string& what, int result) {
  if (result == kSuccess) return;
  check(result != kInProgress, ErrorKind::Io, what, label_,
        ": it was aborted, or the other ranks did not come within ", timeout_.count(), " ms");
  throw Error(ErrorKind::Nccl, what, label_ + ": " + describe(result));
}

std::string Communicator::describe(int result) {
  const std::lock_guard lock(mutex_);
  std::string text = nccl_.error_string(result);
  const char* const last = nccl_.last_error(comm_);
  if (last && *last) text += detail::concat(" (", last, ")");
  return text;
}

std::optional<std::string> Communicator::trouble() {
  int state = kSuccess;
  {
    const std::lock_guard lock(mutex_);
    if (!comm_) return std::nullopt;
    const int asked = nccl_.comm_error(comm_, &state);
    if (asked != kSuccess) state = asked;
  }
  if (state == kSuccess || state == kInProgress) return std::nullopt;
  return "NCCL reports: " + describe(state);
}

void Communicator::abort() {
  const std::lock_guard lock(mutex_);
  if (comm_) nccl_.comm_abort(std::exchange(comm_, nullptr));
}

}  // namespace plinth::distributed::nccl
