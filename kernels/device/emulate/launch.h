#pragma once

// Runs a kernel on the CPU. Each thread is a fiber; it runs until it must wait for others, and the
// next one is drawn from a seed, so that a kernel which depends on the order fails for some seed. A
// few blocks are resident at a time, others start when these end, in an order drawn too; all of
// them only where the launch asks for that.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/error.h"
#include "kernels/device/emulate/thread.h"

namespace plinth::emulate {

inline constexpr size_t kMostSharedBytes = size_t{227} << 10;  // that sm_90 gives a block

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint32_t count() const { return x * y * z; }
};

struct Shape {
  Dim3 grid;
  Dim3 block;
  size_t shared_bytes = 0;
  Dim3 cluster{};                  // blocks that run together and reach each other's shared memory
  bool overlaps_previous = false;  // programmatic dependent launch
  bool together = false;           // all blocks run at once
};

class Cluster;

class Launch {
 public:
  Launch(std::string kernel, const Shape& shape, uint64_t seed);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // Runs `body` in every thread. Throws KernelError.
  void run(const std::function<void()>& body);

  // The launch that runs now; only within run().
  static Launch& current();
  Thread& running() { return *running_; }
  const Shape& shape() const { return shape_; }

  // Suspends the running thread until the wait's ready() holds.
  void suspend(const Wait& wait);
  // Lets others run: the thread found a flag unchanged and will look again.
  void spin();

  // An asynchronous copy that nothing but the kernel's waits will hurry: it is done when no thread
  // can go on without it.
  void defer(Completion completion);

  // What was published at an address of memory by atomics, releases and fenced stores.
  Knowledge& published(const void* address) { return published_[address]; }

  // A draw from the seed, below `bound`.
  uint32_t draw(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  [[noreturn]] void fail(const std::string& what, Location at) const;

 private:
  struct Deferred {
    Thread* issuer;
    Completion completion;
  };

  void admit();
  void start(Thread& thread);
  void resume(Thread& thread);
  bool run_round();
  bool finish_one_copy();
  void retire();
  [[noreturn]] void report_deadlock() const;

  std::string kernel_;
  Shape shape_;
  std::mt19937_64 random_;
  size_t most_resident_;
  const std::function<void()>* body_ = nullptr;
  std::vector<Dim3> to_start_;  // first blocks of clusters
  uint32_t started_ = 0;
  std::vector<std::unique_ptr<Cluster>> resident_;
  std::vector<Thread*> alive_;
  std::vector<Deferred> deferred_;
  std::map<const void*, Knowledge> published_;
  Thread* running_ = nullptr;
  boost::context::fiber scheduler_;
  std::exception_ptr error_;
};

}  // namespace plinth::emulate
