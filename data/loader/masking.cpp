#include "data/loader/masking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "data/loader/sample_source.h"
#include "kernels/philox.h"

namespace plinth {
namespace {

constexpr uint32_t kMaskingOp = 0xFFFFFFFEu;  // no run has so many ops

// One of `count` numbers, evenly enough: a word has 32 bits.
int64_t one_of(uint32_t word, int64_t count) {
  return static_cast<int64_t>((uint64_t{word} * static_cast<uint64_t>(count)) >> 32);
}

}  // namespace

TokenMasker::TokenMasker(MaskingOptions options) : options_(std::move(options)) {
  check(options_.share > 0 && options_.share < 1, ErrorKind::Argument, "masking", "share is ",
        options_.share, ", takes a number between 0 and 1");
  for (const std::optional<int64_t>& id :
       {std::optional(options_.mask_token), options_.first, options_.last})
    check(!id || (*id >= 0 && *id < options_.vocab_size), ErrorKind::Argument, "masking",
          "token is ", id.value_or(0), ", takes an id below the ", options_.vocab_size,
          " of the vocabulary");
  check(options_.continues.empty() || std::ssize(options_.continues) <= options_.vocab_size,
        ErrorKind::Argument, "masking", "continues has ", options_.continues.size(),
        " ids, takes at most the ", options_.vocab_size, " of the vocabulary");
  std::ranges::sort(options_.kept);
}

bool TokenMasker::continues(int64_t token) const {
  return token >= 0 && token < std::ssize(options_.continues) &&
         options_.continues[static_cast<size_t>(token)];
}

std::vector<TokenMasker::Word> TokenMasker::words_of(
    std::span<const int64_t> tokens, const std::function<uint32_t(int64_t position)>& draw) const {
  std::vector<Word> words;
  bool is_open = false;  // the token before this one belongs to the last word
  for (int64_t i = 0; i < std::ssize(tokens); ++i) {
    const int64_t token = tokens[static_cast<size_t>(i)];
    if (std::ranges::binary_search(options_.kept, token)) {
      is_open = false;
    } else if (is_open && continues(token)) {
      words.back().end = i + 1;
    } else {
      words.push_back({draw(i), i, i + 1});
      is_open = true;
    }
  }
  std::sort(words.begin(), words.end());
  return words;
}

void TokenMasker::mask(int64_t sample, std::span<const int64_t> tokens, int64_t* ids,
                       int64_t* targets) const {
  const int64_t length = std::ssize(tokens) + added();
  std::fill(targets, targets + length, kIgnoredTarget);
  if (options_.first) *ids++ = *options_.first, ++targets;
  std::ranges::copy(tokens, ids);
  if (options_.last) ids[tokens.size()] = *options_.last;

  // The words with the least numbers of those that the sample draws, one a position.
  const kernels::PhiloxKey key{.seed = options_.seed, .step = options_.stream, .op = kMaskingOp};
  const kernels::Philox2 stream = kernels::philox_stream(key);
  const auto numbers = [&](int64_t position) { return kernels::philox(stream, sample, position); };
  const auto share = std::llround(options_.share * static_cast<double>(tokens.size()));
  const int64_t most = std::max<int64_t>(1, share);
  const auto predict = [&](int64_t i) {
    targets[i] = ids[i];
    const kernels::Philox4 own = numbers(i);
    const float draw = kernels::uniform(own[1]);
    if (draw < 0.8F) {
      ids[i] = options_.mask_token;
    } else if (draw < 0.9F) {
      ids[i] = one_of(own[2], options_.vocab_size);
    }
  };
  const std::vector<Word> words = words_of(tokens, [&](int64_t i) { return numbers(i)[0]; });
  int64_t predicted = 0;
  const auto predict_word = [&](const Word& word) {
    for (int64_t i = word.begin; i < word.end; ++i) predict(i);
    predicted += word.end - word.begin;
  };
  for (const Word& word : words) {
    if (predicted == most) break;
    if (predicted + word.end - word.begin <= most) predict_word(word);
  }
  if (predicted == 0 && !words.empty()) predict_word(words.front());
}

}  // namespace plinth
