#include "train/finetune/transcript_units.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "metrics/text.h"

namespace plinth {

std::vector<std::string> transcript_pieces(std::string_view text, bool words) {
  return words ? metrics::split_words(text) : metrics::split_characters(metrics::strip(text));
}

std::vector<std::string> transcript_labels(std::span<const std::string> texts, bool words) {
  std::set<std::string> pieces;
  for (const std::string& text : texts)
    for (std::string& piece : transcript_pieces(text, words)) pieces.insert(std::move(piece));
  std::vector<std::string> labels = {kBlankLabel};
  labels.insert(labels.end(), pieces.begin(), pieces.end());
  return labels;
}

TranscriptUnits::TranscriptUnits(std::vector<std::string> labels, bool words)
    : labels_(std::move(labels)), words_(words) {
  check(!labels_.empty() && labels_.front() == kBlankLabel, ErrorKind::Config, "task.labels",
        "begins with ", labels_.empty() ? "nothing" : labels_.front(), ", takes ", kBlankLabel,
        " as the first");
}

std::vector<int64_t> TranscriptUnits::encode(std::string_view text,
                                             std::string_view subject) const {
  std::vector<int64_t> numbers;
  for (const std::string& piece : transcript_pieces(text, words_)) {
    const auto found = std::find(labels_.begin() + 1, labels_.end(), piece);
    check(found != labels_.end(), ErrorKind::Format, subject, "has the ",
          words_ ? "word '" : "character '", piece, "', which the model has not");
    numbers.push_back(found - labels_.begin());
  }
  return numbers;
}

std::string TranscriptUnits::decode(std::span<const int64_t> path) const {
  std::string text;
  for (size_t t = 0; t < path.size(); ++t) {
    if (path[t] == 0 || (t > 0 && path[t] == path[t - 1])) continue;
    if (words_ && !text.empty()) text += ' ';
    text += labels_[static_cast<size_t>(path[t])];
  }
  return std::string(metrics::strip(text));
}

int64_t TranscriptUnits::steps_for(std::span<const int64_t> numbers) {
  auto steps = std::ssize(numbers);
  for (size_t i = 1; i < numbers.size(); ++i) steps += numbers[i] == numbers[i - 1];
  return steps;
}

}  // namespace plinth
