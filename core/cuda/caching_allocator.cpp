#include "core/cuda/caching_allocator.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/stream.h"

namespace plinth::cuda {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kUnit = 512;  // sizes and addresses of blocks are multiples
constexpr size_t kLargestSmall = kMiB;
constexpr size_t kSmallSegment = 2 * kMiB;
constexpr size_t kMiddleSegment = 20 * kMiB;  // for blocks of up to half of it
constexpr size_t kSegmentUnit = 2 * kMiB;     // what the driver gives out

size_t rounded(size_t bytes, size_t unit) {
  return (std::max<size_t>(bytes, 1) + unit - 1) / unit * unit;
}

size_t segment_size(size_t size) {
  if (size <= kLargestSmall) return kSmallSegment;
  if (size <= kMiddleSegment / 2) return kMiddleSegment;
  return rounded(size, kSegmentUnit);
}

thread_local int chosen_pool = 0;

std::string in_mib(int64_t bytes) {
  return std::to_string((bytes + (int64_t{1} << 19)) >> 20) + " MiB";
}

}  // namespace

struct CachingAllocator::Block {
  char* address = nullptr;
  size_t size = 0;
  int pool = 0;
  bool small = false;
  Stream stream;
  Block* before = nullptr;  // the neighbours in the segment
  Block* after = nullptr;
  enum class State { Free, InUse, Waiting } state = State::Free;
  const char* holder = "";  // the scope that asked for it
  std::vector<Stream> others = {};

  bool is_whole_segment() const { return before == nullptr && after == nullptr; }
};

struct CachingAllocator::Waiting {
  Block* block;
  std::vector<Event> events;
};

bool CachingAllocator::BySize::operator()(const Block* a, const Block* b) const {
  return a->size != b->size ? a->size < b->size : std::less<>()(a->address, b->address);
}

CachingAllocator::CachingAllocator(Device device) : device_(device) {}

CachingAllocator::~CachingAllocator() {
  release_segments(0, true);
}

void* CachingAllocator::allocate(size_t bytes, Stream stream) {
  const std::lock_guard lock(mutex_);
  // Events cannot be asked during a capture; a graph's pool has no blocks that wait for one.
  if (!waiting_.empty() && !is_capturing(stream)) free_what_events_release();
  const size_t size = rounded(bytes, kUnit);
  const Place place{chosen_pool, size <= kLargestSmall, stream.handle};
  Block* block = find_free(size, place);
  if (!block && place.pool == 0) block = take_from_another_stream(size, place);
  if (!block) block = new_segment(size, place);
  if (!block) out_of_memory(size);
  block->stream = stream;
  block->state = Block::State::InUse;
  split(block, size);
  block->holder = current_scope();
  ++stats_.allocations;
  count_use(static_cast<int64_t>(block->size));
  mark_block(block->address, std::max<size_t>(bytes, 1), stream);
  return block->address;
}

void CachingAllocator::deallocate(void* address, size_t, Stream) noexcept {
  const std::lock_guard lock(mutex_);
  Block* block = blocks_.at(address).get();
  count_use(-static_cast<int64_t>(block->size));
  unmark_block(block->address, block->stream);
  block->state = Block::State::Waiting;
  try {
    Waiting waiting{block, {}};
    for (const Stream other : std::exchange(block->others, {})) {
      waiting.events.emplace_back(device_);
      waiting.events.back().record(other);
    }
    if (waiting.events.empty()) return make_free(block);
    waiting_.push_back(std::move(waiting));
  } catch (const std::exception&) {
    // A device that fails does so for good: the block is lost with it.
  }
}

void CachingAllocator::used_on(void* address, Stream stream) {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(address);
  check(found != blocks_.end() && found->second->state == Block::State::InUse, ErrorKind::Argument,
        "used_on", "the address is no tensor's");
  Block& block = *found->second;
  if (stream != block.stream && std::ranges::find(block.others, stream) == block.others.end())
    block.others.push_back(stream);
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_allocated = stats_.allocated;
  stats_.peak_reserved = stats_.reserved;
}

void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  cuda::synchronize(device_);
  free_what_events_release();
  release_segments(0, false);
}

void CachingAllocator::choose_pool(int pool) {
  chosen_pool = pool;
}

void CachingAllocator::release_pool(int pool) {
  const std::lock_guard lock(mutex_);
  cuda::synchronize(device_);
  free_what_events_release();
  release_segments(pool, false);
}

CachingAllocator::Block* CachingAllocator::find_free(size_t size, const Place& place) {
  const auto found = free_.find(place);
  if (found == free_.end()) return nullptr;
  Block wanted;
  wanted.size = size;
  const auto best = found->second.lower_bound(&wanted);
  if (best == found->second.end()) return nullptr;
  Block* block = *best;
  found->second.erase(best);
  return block;
}

// The other stream's work on the block comes first.
CachingAllocator::Block* CachingAllocator::take_from_another_stream(size_t size,
                                                                    const Place& place) {
  if (is_capturing({device_, place.stream})) return nullptr;
  for (const auto& [other, blocks] : free_) {
    if (other.pool != place.pool || other.small != place.small || blocks.empty()) continue;
    if (other.stream == place.stream || is_capturing({device_, other.stream})) continue;
    Block* block = find_free(size, other);
    if (!block) continue;
    Event given_back(device_);
    given_back.record({device_, other.stream});
    given_back.hold_back({device_, place.stream});
    return block;
  }
  return nullptr;
}

CachingAllocator::Block* CachingAllocator::new_segment(size_t size, const Place& place) {
  const size_t bytes = segment_size(size);
  void* memory = device_allocate(device_, bytes);
  if (!memory && !is_capturing({device_, place.stream})) {
    cuda::synchronize(device_);
    free_what_events_release();
    release_segments(0, false);
    memory = device_allocate(device_, bytes);
  }
  if (!memory) return nullptr;
  auto block = std::make_unique<Block>();
  block->address = static_cast<char*>(memory);
  block->size = bytes;
  block->pool = place.pool;
  block->small = place.small;
  ++stats_.system_allocations;
  stats_.reserved += static_cast<int64_t>(bytes);
  stats_.peak_reserved = std::max(stats_.peak_reserved, stats_.reserved);
  return (blocks_[memory] = std::move(block)).get();
}

// Leaves the block with `size` bytes and frees the rest, where that is worth a block.
void CachingAllocator::split(Block* block, size_t size) {
  const size_t rest = block->size - size;
  if (rest < kUnit || (!block->small && rest <= kLargestSmall)) return;
  auto other = std::make_unique<Block>(*block);
  other->address = block->address + size;
  other->size = rest;
  other->before = block;
  if (other->after) other->after->before = other.get();
  block->after = other.get();
  block->size = size;
  Block* const tail = (blocks_[other->address] = std::move(other)).get();
  make_free(tail);
}

// `neighbour` follows `block`, and neither is in a set of free blocks.
CachingAllocator::Block* CachingAllocator::join(Block* block, Block* neighbour) {
  block->size += neighbour->size;
  block->after = neighbour->after;
  if (block->after) block->after->before = block;
  blocks_.erase(neighbour->address);
  return block;
}

void CachingAllocator::make_free(Block* block) {
  block->state = Block::State::Free;
  block->holder = "";
  const Place place{block->pool, block->small, block->stream.handle};
  FreeBlocks& blocks = free_[place];
  const auto can_join = [&](const Block* other) {
    return other && other->state == Block::State::Free && other->stream == block->stream;
  };
  if (can_join(block->after)) {
    blocks.erase(block->after);
    block = join(block, block->after);
  }
  if (can_join(block->before)) {
    blocks.erase(block->before);
    block = join(block->before, block);
  }
  blocks.insert(block);
}

void CachingAllocator::free_what_events_release() {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (!std::ranges::all_of(waiting.events, &Event::is_done)) return false;
    make_free(waiting.block);
    return true;
  });
}

void CachingAllocator::release_segments(int pool, bool all_pools) {
  for (auto& [place, blocks] : free_) {
    if (!all_pools && place.pool != pool) continue;
    for (auto next = blocks.begin(); next != blocks.end();) {
      Block* block = *next;
      if (!block->is_whole_segment()) {
        ++next;
        continue;
      }
      next = blocks.erase(next);
      stats_.reserved -= static_cast<int64_t>(block->size);
      device_free(device_, block->address);
      blocks_.erase(block->address);
    }
  }
}

void CachingAllocator::count_use(int64_t bytes) {
  stats_.allocated += bytes;
  stats_.peak_allocated = std::max(stats_.peak_allocated, stats_.allocated);
}

void CachingAllocator::out_of_memory(size_t bytes) const {
  struct Held {
    int64_t bytes = 0, blocks = 0;
  };
  std::map<std::string, Held> by_holder;
  for (const auto& [address, block] : blocks_) {
    if (block->state != Block::State::InUse) continue;
    Held& held = by_holder[block->holder[0] == '\0' ? "outside ops" : block->holder];
    held.bytes += static_cast<int64_t>(block->size);
    ++held.blocks;
  }
  std::vector<std::pair<std::string, Held>> largest(by_holder.begin(), by_holder.end());
  std::ranges::stable_sort(largest, std::greater<>(), [](const auto& x) { return x.second.bytes; });
  const MemoryInfo info = memory_info(device_);
  std::string message = detail::concat(
      "no ", bytes, " bytes left on ", device_, " (", in_mib(info.total), " in all, ",
      in_mib(info.free), " with the driver): tensors hold ", in_mib(stats_.allocated),
      ", free blocks ", in_mib(stats_.reserved - stats_.allocated));
  constexpr size_t kNamed = 4;
  for (size_t i = 0; i < std::min(kNamed, largest.size()); ++i) {
    const auto& [holder, held] = largest[i];
    message += detail::concat(i == 0 ? "; held by " : ", ", holder, " ", in_mib(held.bytes), " in ",
                              held.blocks);
  }
  throw Error(ErrorKind::OutOfMemory, current_scope()[0] == '\0' ? "allocate" : current_scope(),
              message);
}

std::string CachingAllocator::snapshot() const {
  using Json = nlohmann::ordered_json;
  const std::lock_guard lock(mutex_);
  std::map<const void*, const Block*> firsts;
  for (const auto& [address, block] : blocks_)
    if (!block->before) firsts[address] = block.get();
  Json segments = Json::array();
  for (const auto& [address, first] : firsts) {
    Json blocks = Json::array();
    size_t offset = 0;
    for (const Block* block = first; block; block = block->after) {
      const char* const state = block->state == Block::State::InUse  ? "in use"
                                : block->state == Block::State::Free ? "free"
                                                                     : "held by other streams";
      blocks.push_back({{"offset", offset},
                        {"bytes", block->size},
                        {"state", state},
                        {"holder", block->holder},
                        {"stream", reinterpret_cast<uintptr_t>(block->stream.handle)}});
      offset += block->size;
    }
    segments.push_back({{"address", reinterpret_cast<uintptr_t>(address)},
                        {"bytes", offset},
                        {"pool", first->pool},
                        {"blocks", std::move(blocks)}});
  }
  return Json{{"device", to_string(device_)}, {"segments", std::move(segments)}}.dump(2) + "\n";
}

CachingAllocator& caching_allocator(Device device) {
  check_device(device);
  static std::mutex mutex;
  static auto* const all = new std::map<int, std::unique_ptr<CachingAllocator>>;
  const std::lock_guard lock(mutex);
  auto& found = (*all)[device.index];
  if (!found) found = std::make_unique<CachingAllocator>(device);
  return *found;
}

}  // namespace plinth::cuda
