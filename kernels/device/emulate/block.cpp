#include "kernels/device/emulate/block.h"

#include <algorithm>
#include <boost/context/fixedsize_stack.hpp>
#include <cstring>
#include <sstream>
#include <utility>

#include "kernels/device/emulate/shared_memory.h"

namespace plinth::emulate {
namespace {

constexpr size_t kStackBytes = size_t{128} << 10;

thread_local Block* current_block = nullptr;

std::string to_string(Dim3 d) {
  std::ostringstream out;
  out << '(' << d.x << ", " << d.y << ", " << d.z << ')';
  return out.str();
}

}  // namespace

Block::Block(std::string kernel, Dim3 grid, Dim3 index, Dim3 threads, size_t shared_bytes,
             uint64_t seed)
    : kernel_(std::move(kernel)),
      grid_(grid),
      index_(index),
      dims_(threads),
      random_(seed),
      warps_((threads.count() + 31) / 32),
      shared_(std::make_unique<SharedMemory>(shared_bytes)) {
  for (uint32_t id = 0; id < dims_.count(); ++id) {
    all_.push_back(std::make_unique<Thread>());
    all_.back()->id = id;
    all_.back()->clock = Clock(dims_.count());
    all_.back()->clock.tick(id);
  }
}

Block::~Block() = default;

Block& Block::current() {
  return *current_block;
}

void Block::run(const std::function<void()>& body) {
  Block* const outer = std::exchange(current_block, this);
  for (const auto& thread : all_) {
    Thread* const self = thread.get();
    self->fiber =
        boost::context::fiber(std::allocator_arg, boost::context::fixedsize_stack(kStackBytes),
                              [this, self, &body](boost::context::fiber&& back) {
                                scheduler_ = std::move(back);
                                try {
                                  body();
                                } catch (const KernelError&) {
                                  error_ = std::current_exception();
                                }
                                self->done = true;
                                return std::move(scheduler_);
                              });
  }
  std::vector<Thread*> alive;
  for (const auto& thread : all_) alive.push_back(thread.get());
  try {
    while (!alive.empty()) {
      std::ranges::shuffle(alive, random_);
      bool progress = false;
      for (Thread* thread : alive) {
        if (thread->ready && !(*thread->ready)()) continue;
        progress = true;
        resume(*thread);
        if (error_) std::rethrow_exception(error_);
      }
      if (!progress) report_deadlock();
      std::erase_if(alive, [](const Thread* thread) { return thread->done; });
    }
  } catch (...) {
    all_.clear();  // unwinds the fibers while they can still name their block
    current_block = outer;
    throw;
  }
  current_block = outer;
}

void Block::resume(Thread& thread) {
  thread.ready = nullptr;
  running_ = &thread;
  thread.fiber = std::move(thread.fiber).resume();
}

void Block::wait(const std::function<bool()>& ready, const std::string& what) {
  Thread& self = *running_;
  while (!ready()) {
    self.ready = &ready;
    self.waits_for = what;
    scheduler_ = std::move(scheduler_).resume();
  }
}

std::string Block::place() const {
  std::ostringstream out;
  out << kernel_ << ": block " << to_string(index_);
  if (running_) out << ", thread " << running_->id;
  return out.str();
}

void Block::fail(const std::string& what, Location at) const {
  std::ostringstream out;
  const char* file = std::strrchr(at.file_name(), '/');
  out << place() << ": " << what << " (" << (file ? file + 1 : at.file_name()) << ':' << at.line()
      << ')';
  throw KernelError(out.str());
}

void Block::report_deadlock() const {
  std::map<std::string, std::vector<uint32_t>> waiting;
  for (const auto& thread : all_) {
    if (!thread->done) waiting[thread->waits_for].push_back(thread->id);
  }
  std::ostringstream out;
  out << kernel_ << ": block " << to_string(index_) << ": deadlock:";
  for (const auto& [what, threads] : waiting) {
    out << ' ' << threads.size() << " threads (first " << threads.front() << ") wait for " << what
        << ';';
  }
  throw KernelError(out.str());
}

// ---- barriers ----

Barrier& Block::checked_barrier(uint32_t id, uint32_t count, Location at) {
  if (id >= barriers_.size())
    fail("barrier " + std::to_string(id) + " does not exist: there are 16", at);
  if (count == 0 || count % 32 != 0 || count > (dims_.count() + 31) / 32 * 32) {
    fail("barrier " + std::to_string(id) + " for " + std::to_string(count) +
             " threads: takes a multiple of 32, at most the block's",
         at);
  }
  Barrier& barrier = barriers_[id];
  if (barrier.arrived > 0 && barrier.expected != count) {
    fail("divergent barrier " + std::to_string(id) + ": this thread expects " +
             std::to_string(count) + " threads, an earlier one " + std::to_string(barrier.expected),
         at);
  }
  barrier.expected = count;
  return barrier;
}

bool Block::arrive_at(Barrier& barrier) {
  Thread& self = *running_;
  barrier.gathering.join(self.clock);
  self.clock.tick(self.id);
  // A block whose size is no multiple of 32 counts its last warp as whole.
  const uint32_t missing = (32 - dims_.count() % 32) % 32;
  const uint32_t needed =
      barrier.expected > dims_.count() ? barrier.expected - missing : barrier.expected;
  if (++barrier.arrived < needed) return false;
  barrier.arrived = 0;
  ++barrier.generation;
  barrier.released = std::exchange(barrier.gathering, Clock());
  return true;
}

void Block::sync(uint32_t id, uint32_t count, Location at) {
  Barrier& barrier = checked_barrier(id, count, at);
  const uint64_t generation = barrier.generation;
  arrive_at(barrier);
  std::ostringstream what;
  what << "barrier " << id << " of " << count << " threads (line " << at.line() << ")";
  wait([&] { return barrier.generation > generation; }, what.str());
  running_->clock.join(barrier.released);
}

void Block::arrive(uint32_t id, uint32_t count, Location at) {
  arrive_at(checked_barrier(id, count, at));
}

// ---- warps ----

Block::WarpValues Block::meet_warp(uint32_t mask, const void* value, size_t bytes, bool order,
                                   Location at) {
  Thread& self = *running_;
  const uint32_t lane = self.id % 32;
  Warp& warp = warps_[self.id / 32];
  if (!((mask >> lane) & 1))
    fail("warp operation by lane " + std::to_string(lane) + ", which its mask leaves out", at);
  Warp::Meeting& meeting = warp.meetings[warp.count[lane]++ % 2];
  // The places are still in use while a lane of the meeting before last has not left it.
  wait([&] { return meeting.left == 0; }, "the lanes of an earlier warp operation to leave it");
  if (meeting.arrived == 0) {
    meeting.mask = mask;
    meeting.line = at.line();
    meeting.gathering = Clock();
  } else if (meeting.mask != mask || meeting.line != at.line()) {
    fail("divergent warp operation: other lanes are at line " + std::to_string(meeting.line) +
             ", or name another mask",
         at);
  }
  std::memcpy(meeting.values[lane].data(), value, bytes);
  if (order) {
    meeting.gathering.join(self.clock);
    self.clock.tick(self.id);
  }
  meeting.arrived |= 1u << lane;
  std::ostringstream what;
  what << "the lanes of a warp operation (line " << at.line() << ")";
  wait([&] { return (meeting.arrived & mask) == mask; }, what.str());
  const WarpValues values = meeting.values;
  if (order) self.clock.join(meeting.gathering);
  meeting.left |= 1u << lane;
  if (meeting.left == mask) meeting.arrived = meeting.left = 0;
  return values;
}

}  // namespace plinth::emulate
