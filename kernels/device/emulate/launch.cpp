#include "kernels/device/emulate/launch.h"

#include <algorithm>
#include <boost/context/fixedsize_stack.hpp>
#include <cstring>
#include <sstream>
#include <utility>

#include "kernels/device/emulate/activity.h"
#include "kernels/device/emulate/block.h"
#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/global_memory.h"

namespace plinth::emulate {
namespace {

constexpr size_t kStackBytes = size_t{128} << 10;
constexpr uint32_t kMostBlocksAcross = 65535;  // in y and z
// Rounds in which threads do nothing but look at flags, before these are held to be waiting.
constexpr int kIdleRounds = 100;

thread_local Launch* current_launch = nullptr;

std::string to_string(Dim3 d) {
  std::ostringstream out;
  out << '(' << d.x << ", " << d.y << ", " << d.z << ')';
  return out.str();
}

// Stacks that ended fibers leave to later ones.
class StackPool {
 public:
  boost::context::stack_context allocate() {
    if (free().empty()) return boost::context::fixedsize_stack(kStackBytes).allocate();
    const boost::context::stack_context stack = free().back();
    free().pop_back();
    return stack;
  }
  void deallocate(const boost::context::stack_context& stack) { free().push_back(stack); }

 private:
  struct Stacks : std::vector<boost::context::stack_context> {
    ~Stacks() {
      for (auto& stack : *this) boost::context::fixedsize_stack(kStackBytes).deallocate(stack);
    }
  };
  static Stacks& free() {
    static thread_local Stacks stacks;
    return stacks;
  }
};

}  // namespace

Launch::Launch(std::string kernel, const Shape& shape, uint64_t seed)
    : kernel_(std::move(kernel)), shape_(shape), random_(seed), most_resident_(1 + random_() % 3) {
  if (shape.together) most_resident_ = shape.grid.count();
  const Dim3 step = shape.cluster;
  for (uint32_t z = 0; z < shape.grid.z; z += step.z) {
    for (uint32_t y = 0; y < shape.grid.y; y += step.y) {
      for (uint32_t x = 0; x < shape.grid.x; x += step.x) to_start_.push_back({x, y, z});
    }
  }
  std::ranges::shuffle(to_start_, random_);
}

Launch::~Launch() = default;

Launch& Launch::current() {
  return *current_launch;
}

void Launch::run(const std::function<void()>& body) {
  if (shape_.grid.x % shape_.cluster.x != 0 || shape_.grid.y % shape_.cluster.y != 0 ||
      shape_.grid.z % shape_.cluster.z != 0 || shape_.cluster.count() > 8) {
    throw KernelError(kernel_ + ": a grid of " + to_string(shape_.grid) +
                      " blocks in clusters of " + to_string(shape_.cluster));
  }
  const Dim3 grid = shape_.grid;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > kMostBlocksAcross ||
      grid.z > kMostBlocksAcross)
    throw KernelError(kernel_ + ": a grid of " + to_string(grid) + " blocks");
  if (shape_.block.count() == 0 || shape_.block.count() > 1024 ||
      shape_.shared_bytes > kMostSharedBytes) {
    throw KernelError(kernel_ + ": a block of " + std::to_string(shape_.block.count()) +
                      " threads with " + std::to_string(shape_.shared_bytes) +
                      " bytes of shared memory");
  }
  const ActivityTimer timer(ActivityKind::Kernel, kernel_, shape_, 0);
  body_ = &body;
  Launch* const outer = std::exchange(current_launch, this);
  forget_global_history();
  try {
    int idle = 0;
    while (true) {
      admit();
      if (alive_.empty()) break;
      idle = run_round() ? 0 : idle + 1;
      const bool spinning = std::ranges::any_of(alive_, &Thread::spins);
      if (idle > (spinning ? kIdleRounds : 0)) {
        if (!finish_one_copy()) report_deadlock();
        idle = 0;
      }
      retire();
    }
  } catch (...) {
    running_ = nullptr;
    resident_.clear();  // unwinds the fibers while they can still name their launch
    current_launch = outer;
    throw;
  }
  current_launch = outer;
}

void Launch::admit() {
  while (resident_.size() < most_resident_ && !to_start_.empty()) {
    resident_.push_back(std::make_unique<Cluster>(*this, started_++, to_start_.back()));
    to_start_.pop_back();
    for (const auto& block : resident_.back()->blocks()) {
      for (const auto& thread : block->all_threads()) start(*thread);
    }
  }
}

void Launch::start(Thread& thread) {
  Thread* const self = &thread;
  thread.fiber = boost::context::fiber(std::allocator_arg, StackPool(),
                                       [this, self](boost::context::fiber&& back) {
                                         scheduler_ = std::move(back);
                                         try {
                                           (*body_)();
                                           self->block->end_thread();
                                         } catch (const KernelError&) {
                                           error_ = std::current_exception();
                                         }
                                         self->done = true;
                                         return std::move(scheduler_);
                                       });
  alive_.push_back(self);
}

void Launch::resume(Thread& thread) {
  thread.wait = nullptr;
  thread.spins = false;
  running_ = &thread;
  thread.fiber = std::move(thread.fiber).resume();
  if (error_) std::rethrow_exception(error_);
}

// Whether any thread got on.
bool Launch::run_round() {
  std::ranges::shuffle(alive_, random_);
  bool progress = false;
  for (Thread* thread : alive_) {
    if (thread->wait && !thread->wait->ready()) continue;
    resume(*thread);
    progress = progress || !thread->spins;
  }
  return progress;
}

void Launch::suspend(const Wait& wait) {
  Thread& self = *running_;
  while (!wait.ready()) {
    self.wait = &wait;
    scheduler_ = std::move(scheduler_).resume();
  }
}

void Launch::spin() {
  running_->spins = true;
  scheduler_ = std::move(scheduler_).resume();
}

void Launch::defer(Completion completion) {
  deferred_.push_back({running_, std::move(completion)});
}

bool Launch::finish_one_copy() {
  if (deferred_.empty()) return false;
  const auto chosen = deferred_.begin() + draw(static_cast<uint32_t>(deferred_.size()));
  const Deferred copy = std::move(*chosen);
  deferred_.erase(chosen);
  running_ = copy.issuer;
  copy.completion();
  return true;
}

// Frees the clusters whose threads have all ended.
void Launch::retire() {
  std::erase_if(alive_, [](const Thread* thread) { return thread->done; });
  std::erase_if(resident_, [&](const auto& cluster) {
    if (!std::ranges::all_of(cluster->blocks(), &Block::done)) return false;
    for (const Deferred& copy : deferred_) {
      if (&copy.issuer->block->cluster() != cluster.get()) continue;
      running_ = copy.issuer;
      fail("the block ends while an asynchronous copy that this thread began is on its way",
           Location::current());
    }
    return true;
  });
}

void Launch::fail(const std::string& what, Location at) const {
  std::ostringstream out;
  const char* file = std::strrchr(at.file_name(), '/');
  out << kernel_ << ": block " << to_string(running_->block->index()) << ", thread " << running_->id
      << ": " << what << " (" << (file ? file + 1 : at.file_name()) << ':' << at.line() << ')';
  throw KernelError(out.str());
}

void Launch::report_deadlock() const {
  std::map<std::string, std::vector<const Thread*>> waiting;
  for (const Thread* thread : alive_)
    waiting[thread->wait ? thread->wait->what() : "a flag that no one changes"].push_back(thread);
  std::ostringstream out;
  out << kernel_ << ": block " << to_string(alive_.front()->block->index()) << ": deadlock:";
  for (const auto& [what, threads] : waiting) {
    const auto first = std::ranges::min_element(threads, {}, &Thread::id);
    out << ' ' << threads.size() << " threads (first " << (*first)->id << ") wait for " << what
        << ';';
  }
  throw KernelError(out.str());
}

}  // namespace plinth::emulate
