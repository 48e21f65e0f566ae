#include "data/loader/sentence_pairs.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/philox.h"

namespace plinth {
namespace {

constexpr uint32_t kPairOp = 0xFFFFFFFCu;  // no run has so many ops

// What a sample draws, by number.
constexpr int64_t kKind = 0, kCut = 1, kPlace = 2;

// One of `count` numbers, evenly enough: 64 bits against a data set's tokens.
int64_t one_of(const kernels::Philox4& drawn, int64_t count) {
  const uint64_t word = uint64_t{drawn[0]} << 32 | drawn[1];
  return static_cast<int64_t>(word % static_cast<uint64_t>(count));
}

kernels::Philox4 draw(const SentencePairOptions& options, int64_t sample, int64_t number) {
  return kernels::philox(
      kernels::philox_stream({.seed = options.seed, .step = options.stream, .op = kPairOp}), sample,
      number);
}

}  // namespace

SentencePairs::SentencePairs(std::shared_ptr<const TokenDataset> data, SentencePairOptions options)
    : data_(std::move(data)), options_(std::move(options)) {}

bool SentencePairs::continues(int64_t token) const {
  return token >= 0 && token < std::ssize(options_.continues) &&
         options_.continues[static_cast<size_t>(token)];
}

// The first text's length: every place where a word begins is as likely.
int64_t SentencePairs::cut(int64_t sample, std::span<const int64_t> chunk) const {
  std::vector<int64_t> places;
  for (int64_t i = 1; i < std::ssize(chunk); ++i) {
    if (!continues(chunk[static_cast<size_t>(i)])) places.push_back(i);
  }
  if (places.empty()) return std::ssize(chunk) / 2;
  return places[static_cast<size_t>(one_of(draw(options_, sample, kCut), std::ssize(places)))];
}

// As many tokens as `next`, other ones unless the data set has none.
std::vector<int64_t> SentencePairs::elsewhere(int64_t sample, std::span<const int64_t> next) const {
  constexpr int64_t kTries = 16, kLongestWord = 32;
  const int64_t count = std::ssize(next);
  const int64_t slack = std::min(kLongestWord, data_->size() - count);
  std::vector<int64_t> read(static_cast<size_t>(count + slack)), text;
  for (int64_t i = 0; i < kTries; ++i) {
    const int64_t begin =
        one_of(draw(options_, sample, kPlace + i), data_->size() - count - slack + 1);
    data_->copy(begin, begin + count + slack, read.data());
    const auto first = std::find_if_not(read.begin(), read.begin() + slack,
                                        [this](int64_t token) { return continues(token); });
    text.assign(first, first + count);
    if (!std::ranges::equal(text, next)) break;
  }
  return text;
}

SentencePair SentencePairs::pair(int64_t sample, std::span<const int64_t> chunk) const {
  check(std::ssize(chunk) >= 2 && std::ssize(chunk) <= data_->size(), ErrorKind::Argument,
        "sentence_pairs", "got ", chunk.size(), " tokens, takes 2 to the ", data_->size(),
        " of the data set");
  SentencePair pair{{chunk.begin(), chunk.end()}, cut(sample, chunk), true};
  const bool first_is_next = (draw(options_, sample / 2, kKind)[0] & 1U) != 0;
  pair.is_next = first_is_next == (sample % 2 == 0);
  if (pair.is_next) return pair;
  const std::vector<int64_t> other =
      elsewhere(sample, chunk.subspan(static_cast<size_t>(pair.first_length)));
  std::ranges::copy(other, pair.tokens.begin() + pair.first_length);
  return pair;
}

}  // namespace plinth
