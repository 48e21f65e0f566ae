#include "data/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <queue>
#include <set>
#include <unordered_map>

#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

using WordIndex = uint32_t;

uint64_t key_of(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}
int32_t left_of(uint64_t pair) {
  return static_cast<int32_t>(pair >> 32);
}
int32_t right_of(uint64_t pair) {
  return static_cast<int32_t>(pair);
}

struct PairHash {
  size_t operator()(uint64_t pair) const {
    pair = (pair ^ (pair >> 32)) * 0x9E3779B97F4A7C15u;
    return pair ^ (pair >> 29);
  }
};

// A pair that may be merged, with the words where it was seen since the last time it was offered.
// Its count may have fallen since; then it goes back with the right one.
struct Candidate {
  int64_t count;
  uint64_t pair;
  uint32_t words;  // index of the list of words

  // The most frequent first; of equals, the lowest ids; then the first offered.
  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    if (pair != other.pair) return pair > other.pair;
    return words > other.words;
  }
};

class Trainer {
 public:
  Trainer(std::span<const std::pair<std::string, int64_t>> words,
          std::span<const std::string> special_tokens) {
    for (const std::string& token : special_tokens) token_id(token);
    add_alphabet();
    for (const auto& [word, count] : words) {
      begin_word(count);
      for (const char byte : word) add_symbol(byte_ids_[static_cast<uint8_t>(byte)]);
    }
    count_pairs();
  }

  // Of characters; those that do not begin a word are spelled with the prefix.
  Trainer(std::span<const std::pair<std::string, int64_t>> words,
          std::span<const std::string> special_tokens, std::string_view prefix)
      : prefix_(prefix) {
    for (const std::string& token : special_tokens) token_id(token);
    add_characters(words);
    for (const auto& [word, count] : words) {
      begin_word(count);
      for_characters(word, [&](std::string_view character, bool is_first) {
        add_symbol(token_id(spelled(character, is_first)));
      });
    }
    count_pairs();
  }

  BpeVocabulary run(int64_t vocab_size, int64_t min_frequency) {
    while (static_cast<int64_t>(result_.spellings.size()) < vocab_size && !queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = counts_[top.pair];
      if (top.count != count) {
        top.count = count;
        queue_.push(top);
        continue;
      }
      if (count < 1 || count < min_frequency) break;
      merge(top);
    }
    return std::move(result_);
  }

 private:
  // The id of a token, which is new if it was not known.
  int32_t token_id(const std::string& spelling) {
    const auto [entry, is_new] = ids_.try_emplace(spelling, static_cast<int32_t>(ids_.size()));
    if (is_new) result_.spellings.push_back(spelling);
    return entry->second;
  }

  void add_alphabet() {
    std::array<int, 256> bytes;
    for (int i = 0; i < 256; ++i) bytes[static_cast<size_t>(i)] = i;
    const auto character = [](int byte) { return byte_alphabet()[static_cast<size_t>(byte)]; };
    std::sort(bytes.begin(), bytes.end(),
              [&](int a, int b) { return character(a) < character(b); });
    for (const int byte : bytes) {
      std::string spelling;
      append_utf8(spelling, character(byte));
      byte_ids_[static_cast<size_t>(byte)] = token_id(spelling);
    }
  }

  template <class Body>
  static void for_characters(std::string_view word, Body&& body) {
    for (size_t at = 0; at < word.size();) {
      const auto length = static_cast<size_t>(next_utf8(word.substr(at)).length);
      body(word.substr(at, length), at == 0);
      at += length;
    }
  }

  std::string spelled(std::string_view character, bool is_first) const {
    return (is_first ? "" : prefix_) + std::string(character);
  }

  void add_characters(std::span<const std::pair<std::string, int64_t>> words) {
    std::set<std::string> alone, inside;  // the order of bytes is that of code points
    for (const auto& [word, count] : words) {
      for_characters(word, [&](std::string_view character, bool is_first) {
        alone.emplace(character);
        if (!is_first) inside.insert(spelled(character, false));
      });
    }
    for (const std::string& character : alone) token_id(character);
    for (const std::string& character : inside) token_id(character);
  }

  void begin_word(int64_t count) {
    begins_.push_back(symbols_.size());
    lengths_.push_back(0);
    word_counts_.push_back(count);
  }
  void add_symbol(int32_t symbol) {
    symbols_.push_back(symbol);
    ++lengths_.back();
  }

  void count_pairs() {
    for (WordIndex word = 0; word < lengths_.size(); ++word) {
      const int32_t* symbols = symbols_.data() + begins_[word];
      for (uint32_t i = 0; i + 1 < lengths_[word]; ++i) {
        change(key_of(symbols[i], symbols[i + 1]), word_counts_[word], word);
      }
    }
    offer_seen_pairs();
  }

  void change(uint64_t pair, int64_t by, WordIndex word) {
    counts_[pair] += by;
    if (by <= 0) return;
    std::vector<WordIndex>& seen = seen_[pair];
    if (seen.empty() || seen.back() != word) seen.push_back(word);
  }

  void offer_seen_pairs() {
    for (auto& [pair, words] : seen_) {
      const int64_t count = counts_[pair];
      if (count <= 0) continue;
      queue_.push({count, pair, static_cast<uint32_t>(word_lists_.size())});
      word_lists_.push_back(std::move(words));
    }
    seen_.clear();
  }

  void merge(const Candidate& candidate) {
    const int32_t left = left_of(candidate.pair);
    const int32_t right = right_of(candidate.pair);
    // What is joined to the right does not begin a word.
    const std::string added = result_.spellings[static_cast<size_t>(right)].substr(prefix_.size());
    const int32_t merged = token_id(result_.spellings[static_cast<size_t>(left)] + added);
    result_.merges.emplace_back(left, right);
    result_.merged_ids.push_back(merged);
    const std::vector<WordIndex> words = std::move(word_lists_[candidate.words]);
    for (const WordIndex word : words) merge_in_word(word, left, right, merged);
    offer_seen_pairs();
  }

  // Joins the pair wherever it stands in a word, and counts the pairs with its neighbours anew. The
  // count of the pair itself is left: it is offered again only where it is formed again.
  void merge_in_word(WordIndex word, int32_t left, int32_t right, int32_t merged) {
    int32_t* symbols = symbols_.data() + begins_[word];
    const uint32_t length = lengths_[word];
    const int64_t count = word_counts_[word];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < length; ++i, ++kept) {
      if (symbols[i] != left || i + 1 == length || symbols[i + 1] != right) {
        symbols[kept] = symbols[i];
        continue;
      }
      if (kept > 0) {
        change(key_of(symbols[kept - 1], left), -count, word);
        change(key_of(symbols[kept - 1], merged), count, word);
      }
      symbols[kept] = merged;
      ++i;
      if (i + 1 < length) {
        change(key_of(right, symbols[i + 1]), -count, word);
        change(key_of(merged, symbols[i + 1]), count, word);
      }
    }
    lengths_[word] = kept;
  }

  BpeVocabulary result_;
  std::unordered_map<std::string, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_{};
  std::string prefix_;

  // Word w is symbols_[begins_[w]] and the lengths_[w] - 1 behind it.
  std::vector<int32_t> symbols_;
  std::vector<size_t> begins_;
  std::vector<uint32_t> lengths_;
  std::vector<int64_t> word_counts_;

  std::unordered_map<uint64_t, int64_t, PairHash> counts_;
  std::unordered_map<uint64_t, std::vector<WordIndex>, PairHash> seen_;  // since the last offer
  std::vector<std::vector<WordIndex>> word_lists_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

BpeVocabulary train_bpe(std::span<const std::pair<std::string, int64_t>> words,
                        std::span<const std::string> special_tokens, int64_t vocab_size,
                        int64_t min_frequency) {
  return Trainer(words, special_tokens).run(vocab_size, min_frequency);
}

std::vector<std::string> train_word_pieces(std::span<const std::pair<std::string, int64_t>> words,
                                           std::span<const std::string> special_tokens,
                                           std::string_view prefix, int64_t vocab_size,
                                           int64_t min_frequency) {
  return Trainer(words, special_tokens, prefix).run(vocab_size, min_frequency).spellings;
}

}  // namespace plinth
