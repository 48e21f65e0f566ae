#include "data/tokenizer/word_counter.h"

#include <omp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>
#include <cstring>

#include "data/tokenizer/parallel_tasks.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

// Counts by word: an open-addressing table over one buffer of bytes.
class Counts {
 public:
  struct Slot {
    uint64_t hash = 0;
    size_t begin = 0;
    size_t size = 0;
    int64_t count = 0;  // 0: free
  };

  void add(std::string_view word, int64_t count) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    const uint64_t hash = XXH3_64bits(word.data(), word.size());
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].count != 0 && !(slots_[at].hash == hash && word_of(slots_[at]) == word)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    if (slots_[at].count == 0) {
      slots_[at] = {hash, bytes_.size(), word.size(), 0};
      bytes_.append(word);
      ++used_;
    }
    slots_[at].count += count;
  }

  void add_all(const Counts& other) {
    for (const Slot& slot : other.slots_) {
      if (slot.count != 0) add(other.word_of(slot), slot.count);
    }
  }

  std::vector<std::pair<std::string, int64_t>> sorted() const {
    std::vector<std::pair<std::string, int64_t>> words;
    words.reserve(used_);
    for (const Slot& slot : slots_) {
      if (slot.count != 0) words.emplace_back(word_of(slot), slot.count);
    }
    std::sort(words.begin(), words.end());
    return words;
  }

 private:
  std::string_view word_of(const Slot& slot) const {
    return std::string_view(bytes_).substr(slot.begin, slot.size);
  }

  void grow() {
    std::vector<Slot> old(std::max<size_t>(1024, slots_.size() * 2));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.count == 0) continue;
      size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].count != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
  std::string bytes_;
};

void count_pieces(const PieceBlock& pieces, const RepairedText& text, Counts& counts) {
  for (const Piece& piece : pieces) {
    const std::string_view word = text.original(piece.begin, piece.end);
    if (piece.prefixed) {
      counts.add(with_prefix(word), 1);
    } else {
      counts.add(word, 1);
    }
  }
}

// Counts of each thread, which are one in the end.
class SharedCounts {
 public:
  SharedCounts() : by_thread_(static_cast<size_t>(omp_get_max_threads())) {}

  Counts& mine() { return by_thread_[static_cast<size_t>(omp_get_thread_num())]; }
  std::vector<std::pair<std::string, int64_t>> sorted() {
    for (size_t thread = 1; thread < by_thread_.size(); ++thread)
      by_thread_[0].add_all(by_thread_[thread]);
    return by_thread_[0].sorted();
  }

 private:
  std::vector<Counts> by_thread_;
};

// Appends parts of about kLongText bytes at most, which end with lines.
void cut_at_lines(std::string_view text, std::vector<std::string_view>& parts) {
  while (text.size() > kLongText) {
    const size_t line_end = text.find('\n', kLongText);
    if (line_end == std::string_view::npos) break;
    parts.push_back(text.substr(0, line_end + 1));
    text.remove_prefix(line_end + 1);
  }
  parts.push_back(text);
}

}  // namespace

std::vector<std::pair<std::string, int64_t>> count_words(std::span<const std::string_view> texts,
                                                         const PreTokenizer& pre_tokenizer) {
  SharedCounts counts;
  parallel_tasks(static_cast<int64_t>(texts.size()), [&](int64_t i) {
    const std::string_view text = texts[static_cast<size_t>(i)];
    if (text.size() >= kLongText) return;
    const RepairedText repaired(text);
    PieceBlock pieces;
    pre_tokenizer.split(repaired.text(), pieces);
    count_pieces(pieces, repaired, counts.mine());
  });
  for (const std::string_view text : texts) {
    if (text.size() < kLongText) continue;
    const RepairedText repaired(text);
    pre_tokenizer.split_long(repaired.text(), [&](std::span<const PieceBlock> blocks) {
      parallel_tasks(static_cast<int64_t>(blocks.size()), [&](int64_t b) {
        count_pieces(blocks[static_cast<size_t>(b)], repaired, counts.mine());
      });
    });
  }
  return counts.sorted();
}

std::vector<std::pair<std::string, int64_t>> count_bert_words(
    std::span<const std::string_view> texts, const BertNormalizerSpec& spec) {
  std::vector<std::string_view> parts;
  for (const std::string_view text : texts) cut_at_lines(text, parts);
  SharedCounts counts;
  parallel_tasks(std::ssize(parts), [&](int64_t i) {
    const RepairedText repaired(parts[static_cast<size_t>(i)]);
    const std::string text = normalize_bert(repaired.text(), spec);
    for (const std::string_view word : split_bert_words(text)) counts.mine().add(word, 1);
  });
  return counts.sorted();
}

}  // namespace plinth
