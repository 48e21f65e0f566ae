#include "data/loader/span_corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "kernels/philox.h"

namespace plinth {
namespace {

constexpr std::string_view kSpanCorruption = "span_corruption";
constexpr uint32_t kSpanOp = 0xFFFFFFFDu;  // no run has so many ops

// The lengths of `parts` parts of `count` things, each of at least one: every way is as likely.
// Word number `word` of the sample's position i is the draw of a cut behind thing i.
std::vector<int64_t> random_parts(int64_t count, int64_t parts, const kernels::Philox2& stream,
                                  int64_t sample, size_t word) {
  std::vector<std::pair<uint32_t, int64_t>> drawn;
  for (int64_t i = 1; i < count; ++i)
    drawn.emplace_back(kernels::philox(stream, sample, i)[word], i);
  std::ranges::sort(drawn);
  std::vector<int64_t> cuts = {0, count};
  for (int64_t i = 0; i + 1 < parts; ++i) cuts.push_back(drawn[static_cast<size_t>(i)].second);
  std::ranges::sort(cuts);
  std::vector<int64_t> lengths;
  for (size_t i = 1; i < cuts.size(); ++i) lengths.push_back(cuts[i] - cuts[i - 1]);
  return lengths;
}

}  // namespace

SpanCorruptor::SpanCorruptor(const SpanCorruptionOptions& options) : options_(options) {
  check(options.density > 0 && options.density <= 0.99, ErrorKind::Argument, kSpanCorruption,
        "density is ", options.density, ", takes a number above 0 and at most 0.99");
  check(options.mean_span >= 1 && std::isfinite(options.mean_span), ErrorKind::Argument,
        kSpanCorruption, "mean_span is ", options.mean_span, ", takes 1 or more");
  check(options.sentinels >= 2 && options.first_sentinel >= options.sentinels - 1,
        ErrorKind::Argument, kSpanCorruption, "got ", options.sentinels, " sentinels from ",
        options.first_sentinel, " down, takes 2 or more, none of them below 0");
}

int64_t SpanCorruptor::lost(int64_t tokens) const {
  const auto share = std::llround(static_cast<double>(tokens) * options_.density);
  return std::clamp<int64_t>(share, 1, std::max<int64_t>(1, tokens - 1));
}

int64_t SpanCorruptor::spans(int64_t tokens) const {
  const int64_t count = lost(tokens);
  const auto wanted = std::llround(static_cast<double>(count) / options_.mean_span);
  // A token stays between two spans.
  const int64_t most = std::max<int64_t>(1, std::min(count, tokens - count));
  return std::clamp<int64_t>(wanted, 1, most);
}

int64_t SpanCorruptor::ids_length(int64_t tokens) const {
  return tokens - lost(tokens) + spans(tokens) + (options_.end_token ? 1 : 0);
}

int64_t SpanCorruptor::targets_length(int64_t tokens) const {
  return lost(tokens) + spans(tokens) + 1 + (options_.end_token ? 1 : 0);
}

int64_t SpanCorruptor::tokens_within(int64_t length) const {
  constexpr int64_t kMost = int64_t{1} << 31;
  check(length >= ids_length(2) && length <= kMost, ErrorKind::Argument, kSpanCorruption,
        "length is ", length, ", takes ", ids_length(2), " to ", kMost);
  // Longer texts never have fewer ids.
  int64_t fits = 2, above = 4;
  while (ids_length(above) <= length) above *= 2;
  while (fits + 1 < above) {
    const int64_t middle = std::midpoint(fits, above);
    (ids_length(middle) <= length ? fits : above) = middle;
  }
  return fits;
}

SpanSample SpanCorruptor::corrupt(int64_t sample, std::span<const int64_t> tokens) const {
  const int64_t count = std::ssize(tokens);
  check(count >= 2, ErrorKind::Argument, kSpanCorruption, "got ", count,
        " tokens, takes 2 or more");
  const int64_t number = spans(count);
  check(number < options_.sentinels, ErrorKind::Argument, kSpanCorruption, "a text of ", count,
        " tokens has ", number, " spans, takes fewer than the ", options_.sentinels, " sentinels");
  const int64_t last = options_.first_sentinel - options_.sentinels;
  for (const int64_t token : tokens)
    check(token <= last || token > options_.first_sentinel, ErrorKind::Argument, kSpanCorruption,
          "the text has token ", token, ", which is a sentinel");

  const kernels::PhiloxKey key{.seed = options_.seed, .step = options_.stream, .op = kSpanOp};
  const kernels::Philox2 stream = kernels::philox_stream(key);
  const std::vector<int64_t> stay = random_parts(count - lost(count), number, stream, sample, 0);
  const std::vector<int64_t> go = random_parts(lost(count), number, stream, sample, 1);
  SpanSample made;
  auto next = tokens.begin();
  const auto move = [&](int64_t length, std::vector<int64_t>& to) {
    to.insert(to.end(), next, next + length);
    next += length;
  };
  int64_t sentinel = options_.first_sentinel;
  for (size_t i = 0; i < stay.size(); ++i, --sentinel) {
    move(stay[i], made.ids);
    made.ids.push_back(sentinel);
    made.targets.push_back(sentinel);
    move(go[i], made.targets);
  }
  made.targets.push_back(sentinel);
  if (options_.end_token) {
    made.ids.push_back(*options_.end_token);
    made.targets.push_back(*options_.end_token);
  }
  return made;
}

}  // namespace plinth
