#include "kernels/device/emulate/history.h"

#include <algorithm>
#include <utility>

#include "kernels/device/emulate/block.h"

namespace plinth::emulate {

History::History(std::string what, size_t bytes, bool starts_written)
    : what_(std::move(what)),
      starts_written_(starts_written),
      pages_(bytes / (kCellBytes * kCellsAPage) + 1) {}

History::Cell& History::cell(size_t index) {
  std::unique_ptr<Page>& page = pages_[index / kCellsAPage];
  if (!page) page = std::make_unique<Page>();
  return (*page)[index % kCellsAPage];
}

template <class F>
void History::for_cells(size_t offset, size_t bytes, F f) {
  if (bytes == 0) return;
  for (size_t c = offset / kCellBytes; c <= (offset + bytes - 1) / kCellBytes; ++c) f(cell(c));
}

void History::fail(const char* verb, size_t offset, size_t bytes, const std::string& why,
                   Location at) const {
  Block::current().fail(std::string(verb) + " of " + std::to_string(bytes) + " bytes at offset " +
                            std::to_string(offset) + " of " + what_ + why,
                        at);
}

// Whether the last write was by the async proxy, or an async proxy fence came after it. Of other
// clusters' fences nothing is known: they are held to be there.
bool History::shown_to_async(const Cell& cell, const Agent& agent) const {
  const Access& writer = cell.written_by;
  if (!cell.generic || writer.cluster != agent.as.cluster) return true;
  const Clock& shown = starts_written_ ? agent.knows->async_seen_global : agent.knows->async_seen;
  return shown.of(writer.agent) >= writer.time;
}

void History::check_read(const Cell& cell, size_t offset, size_t bytes, const Agent& agent,
                         Location at) const {
  if (cell.barrier) fail("read", offset, bytes, ", where an mbarrier is", at);
  if (cell.in_flight)
    fail("read", offset, bytes, " while an asynchronous copy into it has not been waited for", at);
  if (!cell.written) {
    if (!starts_written_) fail("read", offset, bytes, ", which nobody has written", at);
    return;
  }
  if (agent.atomic && cell.atomic) return;
  const Access& writer = cell.written_by;
  if (!agent.knows->has(writer)) {
    fail("race: read", offset, bytes,
         ", written by " + Block::current().name_of(writer) + " with no barrier in between", at);
  }
  if (agent.proxy == Proxy::Async && !shown_to_async(cell, agent)) {
    fail("asynchronous read", offset, bytes,
         ", written by " + Block::current().name_of(writer) +
             " with ordinary stores and no async proxy fence since",
         at);
  }
}

void History::check_write(const Cell& cell, size_t offset, size_t bytes, const Agent& agent,
                          Location at) const {
  if (cell.barrier) fail("write", offset, bytes, ", where an mbarrier is", at);
  if (cell.in_flight)
    fail("write", offset, bytes, " while an asynchronous copy into it has not been waited for", at);
  if (cell.written && !(agent.atomic && cell.atomic)) {
    const Access& writer = cell.written_by;
    if (!agent.knows->has(writer)) {
      fail("race: write", offset, bytes,
           ", also written by " + Block::current().name_of(writer) + " with no barrier in between",
           at);
    }
    if (agent.proxy == Proxy::Async && !shown_to_async(cell, agent)) {
      fail("asynchronous write", offset, bytes,
           ", written by " + Block::current().name_of(writer) +
               " with ordinary stores and no async proxy fence since",
           at);
    }
  }
  const auto check_reader = [&](const Access& reader) {
    if (!agent.knows->has(reader)) {
      fail("race: write", offset, bytes,
           ", which " + Block::current().name_of(reader) + " read with no barrier in between", at);
    }
  };
  if (!cell.read) return;
  check_reader(cell.read_by);
  if (cell.more_readers) {
    for (const Access& reader : cell.more_readers->list) check_reader(reader);
  }
}

// Takes the place of a late read that it is ordered after: who knows of it knows of that one too.
void History::Readers::add(const Agent& agent) {
  constexpr size_t late = 8;
  for (size_t i = list.size(), end = i > late ? i - late : 0; i-- > end;) {
    if (agent.knows->has(list[i])) {
      list[i] = agent.as;
      return;
    }
  }
  list.push_back(agent.as);
  if (list.size() >= limit) merge();
}

// Keeps the newest read of each agent.
void History::Readers::merge() {
  const auto agent = [](const Access& access) { return std::pair(access.cluster, access.agent); };
  std::sort(list.begin(), list.end(), [&](const Access& a, const Access& b) {
    return std::pair(agent(a), b.time) < std::pair(agent(b), a.time);
  });
  const auto end = std::unique(list.begin(), list.end(), [&](const Access& a, const Access& b) {
    return agent(a) == agent(b);
  });
  list.erase(end, list.end());
  limit = std::max(limit, 2 * list.size());
}

void History::remember_read(Cell& cell, const Agent& agent) {
  if (!cell.read || agent.knows->has(cell.read_by)) {
    cell.read = true;
    cell.read_by = agent.as;
    return;
  }
  if (!cell.more_readers) cell.more_readers = std::make_unique<Readers>();
  cell.more_readers->add(agent);
}

void History::read(size_t offset, size_t bytes, const Agent& agent, Location at) {
  if (bytes == 1) return;
  for_cells(offset, bytes, [&](Cell& cell) {
    check_read(cell, offset, bytes, agent, at);
    // An atomic read-modify-write is ordered with other atomics by itself: its write is enough.
    if (!agent.atomic) remember_read(cell, agent);
  });
}

void History::write(size_t offset, size_t bytes, const Agent& agent, Location at) {
  for_cells(offset, bytes, [&](Cell& cell) {
    if (bytes > 1) check_write(cell, offset, bytes, agent, at);
    if (cell.more_readers) cell.more_readers->list.clear();
    cell.read = false;
    cell.written = true;
    cell.atomic = agent.atomic;
    cell.generic = agent.proxy == Proxy::Generic;
    cell.written_by = agent.as;
  });
}

void History::begin_write(size_t offset, size_t bytes, const Agent& agent, Location at) {
  write(offset, bytes, agent, at);
  for_cells(offset, bytes, [](Cell& cell) { cell.in_flight = true; });
}

void History::finish_write(size_t offset, size_t bytes, const Agent& agent) {
  for_cells(offset, bytes, [&](Cell& cell) {
    cell.in_flight = false;
    cell.written_by = agent.as;
  });
}

void History::check_end(const Knowledge& known, Location at) {
  const auto check = [&](const Access& access) {
    if (!known.has(access)) {
      Block::current().fail("the block ends while others may access its " + what_ + ", last " +
                                Block::current().name_of(access),
                            at);
    }
  };
  for (const auto& page : pages_) {
    if (!page) continue;
    for (const Cell& cell : *page) {
      if (cell.written) check(cell.written_by);
      if (cell.read) check(cell.read_by);
      if (!cell.more_readers) continue;
      for (const Access& reader : cell.more_readers->list) check(reader);
    }
  }
}

void History::set_barrier(size_t offset, size_t bytes, bool is_barrier) {
  for_cells(offset, bytes, [&](Cell& cell) {
    cell.barrier = is_barrier;
    if (!is_barrier) cell.written = false;
  });
}

}  // namespace plinth::emulate
