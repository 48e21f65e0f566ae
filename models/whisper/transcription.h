#pragma once

// Speech to text by a whole Whisper: windows of sound one after the other, each from where the last
// one's text ended (Radford et al. 2022, arXiv 2212.04356, section 4.5).

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/sequence_generation.h"
#include "models/whisper/tokens.h"
#include "models/whisper/whisper.h"

namespace plinth {

struct TranscriptionOptions {
  std::string language = {};  // "en"; "": the likeliest of those that the model knows
  bool translate = false;     // to English, rather than write what is said
  bool timestamps = false;    // tells when what is said, and goes on behind the first window
  int64_t max_tokens = 448;   // of a window; fewer where the decoder has fewer positions
  int64_t beams = 1;
  SamplingOptions sampling = {.temperature = 0};
};

struct SoundFeatures {
  Tensor features;     // [mel_bins, time], at least as many as a window has
  int64_t frames = 0;  // of them that are sound; silence follows
};

struct TranscriptSegment {
  int64_t first = 0, last = 0;  // frames from the start of the sound
  std::vector<int64_t> ids;     // of text alone
};

struct Transcript {
  std::optional<int64_t> language;  // its token
  std::vector<TranscriptSegment> segments;
};

// A transcript of each sound. Without timestamps a sound is one segment of one window, and what
// follows it is not heard. Throws Error(Argument) for a language or task that the model does not
// know, timestamps of one that has none, and what generate_sequences() throws.
std::vector<Transcript> transcribe(Whisper& model, const WhisperTokens& tokens,
                                   std::span<const SoundFeatures> sounds,
                                   const TranscriptionOptions& options = {});

// The token of the language by its name. Throws Error(Argument).
int64_t language_token(const WhisperTokens& tokens, const std::string& language);

// Marks of time come in pairs, an end and the next start, or last before the end of the text; they
// never go back; the first token is one; and one is taken wherever they are together more likely
// than any other token.
class TimestampRule final : public TokenRule {
 public:
  // `tokens` must have timestamps.
  explicit TimestampRule(const WhisperTokens& tokens) : tokens_(tokens) {}
  void apply(std::span<const int64_t> ids, std::span<float> log_probabilities) const override;

 private:
  WhisperTokens tokens_;
};

// The segments of a window's tokens, whose times are frames from the window's start.
struct WindowSegments {
  std::vector<TranscriptSegment> segments;
  int64_t frames = 0;  // that are done with: the next window begins there
};
WindowSegments segments_of(std::span<const int64_t> ids, const WhisperTokens& tokens,
                           int64_t window_frames);

}  // namespace plinth
