#pragma once

// How many words, or characters, a transcript has wrong: the fewest that must be substituted,
// deleted and inserted to make the reference of it (Levenshtein 1966), over all utterances. Equal
// to jiwer's WER and CER.

#include <cstdint>
#include <span>
#include <string>

namespace plinth::metrics {

struct ErrorCounts {
  int64_t hits = 0, substitutions = 0;
  int64_t deletions = 0;   // of the reference, that the transcript lacks
  int64_t insertions = 0;  // in the transcript

  int64_t errors() const { return substitutions + deletions + insertions; }
  int64_t reference() const { return hits + substitutions + deletions; }
  // Errors a word (or character) of the reference: may be above 1.
  double rate() const;
};

// Where several sets of errors are the fewest, that with the most hits is told. Throw
// Error(Argument) unless there are as many transcripts as references, which have at least one word,
// or character, together.
ErrorCounts word_errors(std::span<const std::string> transcripts,
                        std::span<const std::string> references);
// White space at both ends does not count, blanks between words do.
ErrorCounts character_errors(std::span<const std::string> transcripts,
                             std::span<const std::string> references);

}  // namespace plinth::metrics
