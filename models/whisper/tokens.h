#pragma once

// The tokens of a Whisper that are no text: what a transcript begins with, and marks of time
// (Radford et al. 2022, arXiv 2212.04356, section 2.3, figure 1).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/whisper/config.h"

namespace plinth {

struct WhisperTokens {
  int64_t start = 0;
  std::vector<int64_t> ends = {};                 // any of them ends a transcript; at least one
  std::map<std::string, int64_t> languages = {};  // "en"; none where the model knows one alone
  std::optional<int64_t> transcribe = {}, translate = {};
  // Says that there are no marks of time; these are the tokens behind it, the first the window's
  // start, each a position of the encoder after the last.
  std::optional<int64_t> no_timestamps = {};
  std::optional<int64_t> most_initial = {};  // the latest mark that may come first
  std::vector<int64_t> never = {};           // are not generated
  std::vector<int64_t> not_at_first = {};    // as the first token

  int64_t end() const { return ends.front(); }
  bool is_timestamp(int64_t token) const { return no_timestamps && token > *no_timestamps; }
  int64_t position_of(int64_t timestamp) const { return timestamp - *no_timestamps - 1; }
};

// Those that generation_config.json beside the model names; without one, what config.json says of
// suppressed tokens, and the tokens that Whisper's tokenizers have, such as <|notimestamps|>, where
// `find` knows them. Throws Error(Format) naming file and key.
WhisperTokens read_whisper_tokens(
    const std::filesystem::path& directory, const WhisperConfig& config,
    const std::function<std::optional<int64_t>(std::string_view)>& find);

// What the decoder reads before a transcript. `language` and the task are left out where the model
// has no tokens for them.
std::vector<int64_t> transcript_prompt(const WhisperTokens& tokens, std::optional<int64_t> language,
                                       bool translate, bool timestamps);

}  // namespace plinth
