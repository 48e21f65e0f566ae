#pragma once

// A list of tensors in a kernel's parameters. Only for the .cu files of this folder.

#include <cstdint>

#include "kernels/device/device.h"

namespace plinth::kernels::cuda {

using namespace plinth::device;

// With 48 bytes an entry, and the rest of a kernel's parameters, below their 4096.
constexpr int kTableSize = 64;

// Entry has a field n. Block b of a launch has chunk b - first[t] of tensor t, the last with
// first[t] <= b.
template <class Entry>
struct TensorTable {
  int count = 0;
  uint32_t first[kTableSize + 1] = {0};
  Entry entries[kTableSize];

  PLINTH_DEVICE int tensor_of(uint32_t block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first[middle] <= block ? low : high) = middle;
    }
    return low;
  }
};

// Packs entry(t), t < count, into tables, leaving out empty ones; calls f(table, blocks, before)
// for each, `before` being the chunks of earlier tables.
template <class Entry, class Get, class F>
void for_each_table(size_t count, int64_t chunk, Get&& entry, F&& f) {
  TensorTable<Entry> table;
  int64_t before = 0;
  const auto flush = [&] {
    const uint32_t blocks = table.first[table.count];
    if (blocks > 0) f(table, blocks, before);
    before += blocks;
    table.count = 0;
  };
  for (size_t t = 0; t < count; ++t) {
    const Entry next = entry(t);
    if (next.n == 0) continue;
    if (table.count == kTableSize) flush();
    table.entries[table.count] = next;
    const auto chunks = static_cast<uint32_t>((next.n + chunk - 1) / chunk);
    table.first[table.count + 1] = table.first[table.count] + chunks;
    ++table.count;
  }
  flush();
}

}  // namespace plinth::kernels::cuda
