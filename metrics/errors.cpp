#include "metrics/errors.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "metrics/text.h"

namespace plinth::metrics {
namespace {

using Tokens = std::vector<std::string>;

bool is_better(const ErrorCounts& a, const ErrorCounts& b) {
  return a.errors() != b.errors() ? a.errors() < b.errors() : a.hits > b.hits;
}

// Row by row of the reference: the best counts for each beginning of the transcript.
ErrorCounts fewest_errors(const Tokens& transcript, const Tokens& reference) {
  std::vector<ErrorCounts> above(transcript.size() + 1), row(transcript.size() + 1);
  for (size_t j = 0; j <= transcript.size(); ++j) above[j].insertions = static_cast<int64_t>(j);
  for (size_t i = 1; i <= reference.size(); ++i) {
    row[0] = {.deletions = static_cast<int64_t>(i)};
    for (size_t j = 1; j <= transcript.size(); ++j) {
      ErrorCounts both = above[j - 1], deleted = above[j], inserted = row[j - 1];
      ++(reference[i - 1] == transcript[j - 1] ? both.hits : both.substitutions);
      ++deleted.deletions;
      ++inserted.insertions;
      row[j] = both;
      for (const ErrorCounts& other : {deleted, inserted})
        if (is_better(other, row[j])) row[j] = other;
    }
    std::swap(above, row);
  }
  return above.back();
}

template <class Split>
ErrorCounts all_errors(std::string_view op, std::span<const std::string> transcripts,
                       std::span<const std::string> references, Split split) {
  check(transcripts.size() == references.size(), ErrorKind::Argument, op, "got ",
        transcripts.size(), " transcripts and ", references.size(), " references");
  ErrorCounts sum;
  for (size_t i = 0; i < references.size(); ++i) {
    const ErrorCounts one = fewest_errors(split(transcripts[i]), split(references[i]));
    sum.hits += one.hits;
    sum.substitutions += one.substitutions;
    sum.deletions += one.deletions;
    sum.insertions += one.insertions;
  }
  check(sum.reference() > 0, ErrorKind::Argument, op, "references got nothing to compare with");
  return sum;
}

}  // namespace

double ErrorCounts::rate() const {
  return static_cast<double>(errors()) / static_cast<double>(reference());
}

ErrorCounts word_errors(std::span<const std::string> transcripts,
                        std::span<const std::string> references) {
  return all_errors("word_errors", transcripts, references, split_words);
}

ErrorCounts character_errors(std::span<const std::string> transcripts,
                             std::span<const std::string> references) {
  return all_errors("character_errors", transcripts, references,
                    [](const std::string& text) { return split_characters(strip(text)); });
}

}  // namespace plinth::metrics
