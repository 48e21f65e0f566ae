#pragma once

// The history of a piece of memory, for every two bytes of it: who wrote them last, who has read
// them since, and whether an asynchronous copy into them is on its way. An access that the GPU
// would not order after the one before it is an error, whatever the values were.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/emulate/clock.h"
#include "kernels/device/emulate/error.h"

namespace plinth::emulate {

// The hardware reaches memory by two ways ("proxies"), which are not coherent with each other
// without a fence: ordinary accesses, and bulk copies, TMA and wgmma.
enum class Proxy : uint8_t { Generic, Async };

// Who makes an access.
struct Agent {
  const Knowledge* knows;  // what is ordered before the access
  Access as;               // under which name it is remembered
  Proxy proxy = Proxy::Generic;
  bool atomic = false;  // atomic accesses do not race with each other
};

class History {
 public:
  // `what` is named by messages. Where memory starts unwritten, reading it is an error.
  History(std::string what, size_t bytes, bool starts_written);

  // Each checks that the access may happen, and remembers it. Accesses of a single byte are not
  // checked for order: a cell has two.
  void read(size_t offset, size_t bytes, const Agent& agent, Location at);
  void write(size_t offset, size_t bytes, const Agent& agent, Location at);
  // A write that happens some time between now and finish_write().
  void begin_write(size_t offset, size_t bytes, const Agent& agent, Location at);
  void finish_write(size_t offset, size_t bytes, const Agent& agent);
  // Bytes that hold an mbarrier take no ordinary access until it is given up.
  void set_barrier(size_t offset, size_t bytes, bool is_barrier);

  // Checks that all accesses so far are known: the memory is about to go.
  void check_end(const Knowledge& known, Location at);

  void clear() {
    for (auto& page : pages_) page.reset();
  }

 private:
  // Reads by several threads. Those of one agent are merged once there are `limit` of them, not at
  // each read: thousands of threads may read the same weight.
  struct Readers {
    std::vector<Access> list;
    size_t limit = 64;

    void add(const Agent& agent);
    void merge();
  };
  struct Cell {
    Access written_by, read_by;
    bool written = false;  // since this history began
    bool read = false;     // since it was written
    bool in_flight = false;
    bool atomic = false;  // the last write was
    bool generic = false;
    bool barrier = false;
    std::unique_ptr<Readers> more_readers;
  };
  static constexpr size_t kCellBytes = 2;
  static constexpr size_t kCellsAPage = 256;
  using Page = std::array<Cell, kCellsAPage>;

  Cell& cell(size_t index);
  template <class F>
  void for_cells(size_t offset, size_t bytes, F f);
  [[noreturn]] void fail(const char* verb, size_t offset, size_t bytes, const std::string& why,
                         Location at) const;
  bool shown_to_async(const Cell& cell, const Agent& agent) const;
  void check_read(const Cell& cell, size_t offset, size_t bytes, const Agent& agent,
                  Location at) const;
  void check_write(const Cell& cell, size_t offset, size_t bytes, const Agent& agent,
                   Location at) const;
  static void remember_read(Cell& cell, const Agent& agent);

  std::string what_;
  bool starts_written_;
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace plinth::emulate
