#pragma once

// Byte pair encoding of one pre-token (Sennrich et al. 2016, arXiv 1508.07909, section 3.2; over
// bytes as in Radford et al. 2019): as long as two neighbours are a known pair, join the pair that
// was learned first; of equal ones, the leftmost.

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plinth {

// (left, right) -> rank and merged id. An open-addressing table: encoding is mostly look-ups in it.
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Merge {
    uint32_t rank = kNone;  // kNone: not a pair
    int32_t id = 0;
  };

  MergeTable() : MergeTable(0) {}
  explicit MergeTable(size_t merges);

  void insert(int32_t left, int32_t right, Merge merge);  // a later one replaces an earlier one
  Merge find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t key;
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }

  std::vector<Slot> slots_;
  int shift_ = 64;
};

// Encodings of pre-tokens seen before. Forgets everything when full.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 128;

  WordCache();

  // Appends the word's ids to `ids`, if it is known.
  bool find(std::string_view word, std::vector<int32_t>& ids) const;
  void insert(std::string_view word, std::span<const int32_t> ids);

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t word_begin = 0;
    uint32_t ids_begin = 0;
    uint32_t word_size = 0;  // 0: free
    uint32_t id_count = 0;
  };
  const Slot& slot(uint64_t hash, std::string_view word) const;

  std::vector<Slot> slots_;
  size_t used_ = 0;
  std::vector<char> words_;
  std::vector<int32_t> ids_;
};

// What one thread keeps between words.
struct BpeScratch {
  WordCache cache;
  std::vector<int32_t> parts;
  std::vector<MergeTable::Merge> pairs;
  std::vector<uint32_t> next;
  std::vector<uint32_t> previous;
  std::vector<uint64_t> heap;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using WordMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

class Bpe {
 public:
  struct Spec {
    std::array<int32_t, 256> byte_ids;  // -1: the vocabulary lacks the byte
    std::vector<std::pair<int32_t, int32_t>> merges;
    std::vector<int32_t> merged_ids;  // of each merge
    // Words that are one token without asking the merges ("ignore_merges").
    WordMap whole_words;
  };

  Bpe() = default;
  explicit Bpe(Spec spec);

  // Appends the ids of a word of any bytes. Throws Error(Format, "tokenizer") at a byte that the
  // vocabulary lacks. O(n log n).
  void encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  // Joins the tokens that scratch.parts holds, at least one, and appends what they become.
  void merge(BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  void encode_uncached(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void merge_short(BpeScratch& scratch) const;
  void merge_long(BpeScratch& scratch) const;
  void offer_pair(uint32_t position, BpeScratch& scratch) const;

  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
  WordMap whole_words_;
};

}  // namespace plinth
