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
  std::ranges::sort(options_.kept);
}

void TokenMasker::mask(int64_t sample, std::span<const int64_t> tokens, int64_t* ids,
                       int64_t* targets) const {
  const int64_t length = std::ssize(tokens) + added();
  std::fill(targets, targets + length, kIgnoredTarget);
  if (options_.first) *ids++ = *options_.first, ++targets;
  std::ranges::copy(tokens, ids);
  if (options_.last) ids[tokens.size()] = *options_.last;

  // The positions with the least words of those that the sample draws, one each.
  const kernels::PhiloxKey key{.seed = options_.seed, .step = options_.stream, .op = kMaskingOp};
  const kernels::Philox2 stream = kernels::philox_stream(key);
  const auto words = [&](int64_t position) { return kernels::philox(stream, sample, position); };
  std::vector<std::pair<uint32_t, int64_t>> drawn;
  for (int64_t i = 0; i < std::ssize(tokens); ++i) {
    if (!std::ranges::binary_search(options_.kept, tokens[static_cast<size_t>(i)]))
      drawn.emplace_back(words(i)[0], i);
  }
  const auto share = std::llround(options_.share * static_cast<double>(tokens.size()));
  const auto count = std::min<int64_t>(std::max<int64_t>(1, share), std::ssize(drawn));
  std::ranges::nth_element(drawn, drawn.begin() + std::max<int64_t>(0, count - 1));
  drawn.resize(static_cast<size_t>(count));
  for (const auto& [word, i] : drawn) {
    targets[i] = ids[i];
    const kernels::Philox4 own = words(i);
    const float draw = kernels::uniform(own[1]);
    if (draw < 0.8F) {
      ids[i] = options_.mask_token;
    } else if (draw < 0.9F) {
      ids[i] = one_of(own[2], options_.vocab_size);
    }
  }
}

}  // namespace plinth
