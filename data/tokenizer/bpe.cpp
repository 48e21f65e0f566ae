#include "data/tokenizer/bpe.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "core/error.h"

namespace plinth {
namespace {

constexpr uint64_t kFreeKey = UINT64_MAX;  // no pair has it: ids are not negative
constexpr size_t kCacheSlots = size_t{1} << 16;
// Up to here a scan over all neighbours beats a heap.
constexpr size_t kShortWord = 48;
constexpr uint32_t kNoPosition = UINT32_MAX;
constexpr int32_t kGone = -1;

}  // namespace

MergeTable::MergeTable(size_t merges) {
  const size_t capacity = std::bit_ceil(std::max<size_t>(2, merges * 2));
  slots_.assign(capacity, {kFreeKey, {}});
  shift_ = 64 - std::countr_zero(capacity);
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t at = slot_of(key);
  while (slots_[at].key != kFreeKey && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {key, merge};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  for (size_t at = slot_of(key);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].key == key) return slots_[at].merge;
    if (slots_[at].key == kFreeKey) return {};
  }
}

WordCache::WordCache() : slots_(kCacheSlots) {}

const WordCache::Slot& WordCache::slot(uint64_t hash, std::string_view word) const {
  for (size_t at = hash & (kCacheSlots - 1);; at = (at + 1) & (kCacheSlots - 1)) {
    const Slot& slot = slots_[at];
    if (slot.word_size == 0) return slot;
    if (slot.hash == hash && slot.word_size == word.size() &&
        std::memcmp(words_.data() + slot.word_begin, word.data(), word.size()) == 0) {
      return slot;
    }
  }
}

bool WordCache::find(std::string_view word, std::vector<int32_t>& ids) const {
  const Slot& found = slot(XXH3_64bits(word.data(), word.size()), word);
  if (found.word_size == 0) return false;
  const auto begin = ids_.begin() + found.ids_begin;
  ids.insert(ids.end(), begin, begin + found.id_count);
  return true;
}

void WordCache::insert(std::string_view word, std::span<const int32_t> ids) {
  if (used_ > kCacheSlots * 5 / 8) {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    used_ = 0;
    words_.clear();
    ids_.clear();
  }
  const uint64_t hash = XXH3_64bits(word.data(), word.size());
  Slot& free = const_cast<Slot&>(slot(hash, word));
  free = {hash, static_cast<uint32_t>(words_.size()), static_cast<uint32_t>(ids_.size()),
          static_cast<uint32_t>(word.size()), static_cast<uint32_t>(ids.size())};
  words_.insert(words_.end(), word.begin(), word.end());
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

Bpe::Bpe(Spec spec)
    : byte_ids_(spec.byte_ids),
      merges_(spec.merges.size()),
      whole_words_(std::move(spec.whole_words)) {
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto [left, right] = spec.merges[rank];
    merges_.insert(left, right, {static_cast<uint32_t>(rank), spec.merged_ids[rank]});
  }
}

void Bpe::encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (word.size() > WordCache::kLongestWord) return encode_uncached(word, scratch, ids);
  if (scratch.cache.find(word, ids)) return;
  const size_t before = ids.size();
  encode_uncached(word, scratch, ids);
  scratch.cache.insert(word, std::span(ids).subspan(before));
}

void Bpe::encode_uncached(std::string_view word, BpeScratch& scratch,
                          std::vector<int32_t>& ids) const {
  const auto whole = whole_words_.find(word);
  if (whole != whole_words_.end()) return ids.push_back(whole->second);
  scratch.parts.clear();
  for (const char c : word) {
    const uint8_t byte = static_cast<uint8_t>(c);
    check(byte_ids_[byte] >= 0, ErrorKind::Format, "tokenizer",
          "the vocabulary has no token for byte ", int{byte});
    scratch.parts.push_back(byte_ids_[byte]);
  }
  merge(scratch, ids);
}

void Bpe::merge(BpeScratch& scratch, std::vector<int32_t>& ids) const {
  check(scratch.parts.size() < kNoPosition, ErrorKind::Argument, "tokenizer", "a piece of text of ",
        scratch.parts.size(), " bytes that the pattern does not cut is too long, at most ",
        kNoPosition - 1);
  if (scratch.parts.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  ids.insert(ids.end(), scratch.parts.begin(), scratch.parts.end());
}

// Keeps the merge of each neighbouring pair, and looks through all of them for the next one.
void Bpe::merge_short(BpeScratch& scratch) const {
  std::vector<int32_t>& parts = scratch.parts;
  std::vector<MergeTable::Merge>& pairs =
      scratch.pairs;  // pairs[i] joins parts[i] and parts[i + 1]
  pairs.resize(parts.size() - 1);
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = merges_.find(parts[i], parts[i + 1]);
  while (!pairs.empty()) {
    const auto best = std::min_element(
        pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (best->rank == MergeTable::kNone) break;
    const auto at = static_cast<size_t>(best - pairs.begin());
    parts[at] = best->id;
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    pairs.erase(best);
    if (at > 0) pairs[at - 1] = merges_.find(parts[at - 1], parts[at]);
    if (at < pairs.size()) pairs[at] = merges_.find(parts[at], parts[at + 1]);
  }
}

// The parts are a linked list over the word's bytes, and the merges that are possible lie in a
// heap, by rank, then position. An entry whose pair has gone is skipped when it comes up.
void Bpe::merge_long(BpeScratch& scratch) const {
  std::vector<int32_t>& parts = scratch.parts;
  const auto count = static_cast<uint32_t>(parts.size());
  scratch.next.resize(count);
  scratch.previous.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    scratch.next[i] = i + 1 < count ? i + 1 : kNoPosition;
    scratch.previous[i] = i > 0 ? i - 1 : kNoPosition;
  }
  scratch.heap.clear();
  for (uint32_t i = 0; i < count; ++i) offer_pair(i, scratch);
  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
    const uint64_t top = scratch.heap.back();
    scratch.heap.pop_back();
    const auto at = static_cast<uint32_t>(top);
    const uint32_t right = scratch.next[at];
    if (parts[at] == kGone || right == kNoPosition) continue;
    const MergeTable::Merge merge = merges_.find(parts[at], parts[right]);
    if (merge.rank != static_cast<uint32_t>(top >> 32)) continue;
    parts[at] = merge.id;
    parts[right] = kGone;
    const uint32_t after = scratch.next[right];
    scratch.next[at] = after;
    if (after != kNoPosition) scratch.previous[after] = at;
    if (scratch.previous[at] != kNoPosition) offer_pair(scratch.previous[at], scratch);
    offer_pair(at, scratch);
  }
  std::erase(parts, kGone);
}

// Puts the merge of the part at `position` with the next one on the heap, if there is one.
void Bpe::offer_pair(uint32_t position, BpeScratch& scratch) const {
  const uint32_t right = scratch.next[position];
  if (right == kNoPosition) return;
  const MergeTable::Merge merge = merges_.find(scratch.parts[position], scratch.parts[right]);
  if (merge.rank == MergeTable::kNone) return;
  scratch.heap.push_back((uint64_t{merge.rank} << 32) | position);
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
}

}  // namespace plinth
