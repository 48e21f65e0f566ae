#pragma once

// One block of threads on the CPU. Each thread is a fiber; it runs until it must wait for others,
// and the next one is drawn from a seed, so that a kernel which depends on the order fails for some
// seed.

#include <array>
#include <boost/context/fiber.hpp>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/device/emulate/clock.h"

namespace plinth::emulate {

// The place of a call: std::source_location, which clang 14 does not have.
class Location {
 public:
  static constexpr Location current(const char* file = __builtin_FILE(),
                                    uint32_t line = __builtin_LINE()) {
    return {file, line};
  }
  constexpr const char* file_name() const { return file_; }
  constexpr uint32_t line() const { return line_; }

 private:
  constexpr Location(const char* file, uint32_t line) : file_(file), line_(line) {}
  const char* file_;
  uint32_t line_;
};

// A kernel did what the GPU forbids, or leaves undefined. The message names kernel, block, thread,
// what was done, and the line.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint32_t count() const { return x * y * z; }
};

class SharedMemory;

// An asynchronous copy on its way: what it will do once the language guarantees it to be done.
using Completion = std::function<void()>;

struct Thread {
  uint32_t id = 0;
  boost::context::fiber fiber;
  bool done = false;
  const std::function<bool()>* ready = nullptr;  // what it waits for; null while it can run
  std::string waits_for;
  Clock clock;
  std::vector<Completion> open_group;          // cp.async issued, not committed
  std::deque<std::vector<Completion>> groups;  // committed, oldest first
};

// bar.sync and bar.arrive: threads meet `expected` at a time.
struct Barrier {
  uint32_t expected = 0;
  uint32_t arrived = 0;
  uint64_t generation = 0;
  Clock gathering, released;
};

// What the lanes of a warp bring to a collective operation. Lanes may be one operation apart, so
// there are two sets of places, used in turn.
struct Warp {
  struct Meeting {
    std::array<std::array<std::byte, 16>, 32> values{};
    uint32_t mask = 0;
    uint32_t arrived = 0;
    uint32_t left = 0;
    uint32_t line = 0;
    Clock gathering;
  };
  std::array<Meeting, 2> meetings;
  std::array<uint64_t, 32> count{};  // meetings of each lane so far
};

class Block {
 public:
  Block(std::string kernel, Dim3 grid, Dim3 index, Dim3 threads, size_t shared_bytes,
        uint64_t seed);
  ~Block();

  // Runs `body` in every thread. Throws KernelError.
  void run(const std::function<void()>& body);

  // The block and thread that run now; only within run().
  static Block& current();
  Thread& thread() { return *running_; }

  Dim3 grid() const { return grid_; }
  Dim3 index() const { return index_; }
  Dim3 threads() const { return dims_; }
  SharedMemory& shared() { return *shared_; }

  // bar.sync / bar.arrive of barrier `id` with `count` threads.
  void sync(uint32_t id, uint32_t count, Location at);
  void arrive(uint32_t id, uint32_t count, Location at);

  // All lanes of `mask` bring a value of up to 16 bytes and take away everybody's. With `order`,
  // what they wrote before is seen by the others after (__syncwarp); shuffles promise no such
  // thing.
  using WarpValues = std::array<std::array<std::byte, 16>, 32>;
  WarpValues meet_warp(uint32_t mask, const void* value, size_t bytes, bool order, Location at);

  // Lets other threads run until ready() holds.
  void wait(const std::function<bool()>& ready, const std::string& what);

  [[noreturn]] void fail(const std::string& what, Location at) const;

 private:
  std::string place() const;
  void resume(Thread& thread);
  [[noreturn]] void report_deadlock() const;
  Barrier& checked_barrier(uint32_t id, uint32_t count, Location at);
  bool arrive_at(Barrier& barrier);

  std::string kernel_;
  Dim3 grid_, index_, dims_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Thread>> all_;
  std::vector<Warp> warps_;
  std::array<Barrier, 16> barriers_;
  std::unique_ptr<SharedMemory> shared_;
  Thread* running_ = nullptr;
  boost::context::fiber scheduler_;
  std::exception_ptr error_;
};

}  // namespace plinth::emulate
