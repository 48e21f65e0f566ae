#pragma once

// Text as a recogniser of speech tells it: pieces with numbers, of which 0 is the blank.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

inline constexpr const char* kBlankLabel = "<blank>";

// Characters (code points) or words of a text, white space at its ends left out.
std::vector<std::string> transcript_pieces(std::string_view text, bool words);

// kBlankLabel and the pieces of all texts, in the order of their bytes.
std::vector<std::string> transcript_labels(std::span<const std::string> texts, bool words);

class TranscriptUnits {
 public:
  TranscriptUnits(std::vector<std::string> labels, bool words);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  // The numbers of a text's pieces; throws Error(Format) naming `subject` for a piece without one.
  std::vector<int64_t> encode(std::string_view text, std::string_view subject) const;
  // The text of a path of classes, one a time step: repetitions merged, then blanks left out
  // (greedy decoding, Graves et al. 2006, section 3.2).
  std::string decode(std::span<const int64_t> path) const;
  // The fewest time steps that give these numbers: a blank must part those that repeat.
  static int64_t steps_for(std::span<const int64_t> numbers);

 private:
  std::vector<std::string> labels_;
  bool words_;
};

}  // namespace plinth
