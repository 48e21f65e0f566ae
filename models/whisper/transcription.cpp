#include "models/whisper/transcription.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"

namespace plinth {
namespace {

constexpr std::string_view kTranscribe = "transcribe";
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int64_t kFramesAPosition = 2;  // the encoder's second convolution halves the rate

class SuppressionRule final : public TokenRule {
 public:
  SuppressionRule(std::vector<int64_t> never, std::vector<int64_t> not_at_first)
      : never_(std::move(never)), not_at_first_(std::move(not_at_first)) {}

  void apply(std::span<const int64_t> ids, std::span<float> log_probabilities) const override {
    for (const int64_t token : never_) log_probabilities[static_cast<size_t>(token)] = kNever;
    if (!ids.empty()) return;
    for (const int64_t token : not_at_first_)
      log_probabilities[static_cast<size_t>(token)] = kNever;
  }

 private:
  std::vector<int64_t> never_, not_at_first_;
};

// The logarithm of the sum of their exponentials.
double log_total_probability(std::span<const float> values) {
  const float most = std::ranges::max(values);
  if (most == kNever) return static_cast<double>(kNever);
  double sum = 0;
  for (const float value : values) sum += std::exp(static_cast<double>(value - most));
  return static_cast<double>(most) + std::log(sum);
}

// The features of a window from a frame on, [mel_bins, frames]; behind their end zeros.
Tensor window_at(const SoundFeatures& sound, int64_t first, int64_t frames) {
  const int64_t there = std::min(frames, sound.features.size(1) - first);
  const Tensor part = sound.features.narrow(1, first, there);
  if (there == frames) return part;
  return cat({part, zeros({part.size(0), frames - there}, {part.dtype(), part.device()})}, 1);
}

// The likeliest language of each window.
std::vector<int64_t> languages_of(Whisper& model, const WhisperTokens& tokens,
                                  const Tensor& windows) {
  const NoGradGuard no_grad;
  const int64_t count = windows.size(0);
  const Tensor start =
      full({count, 1}, static_cast<double>(tokens.start), {DType::Int64, model.device()});
  const Tensor logits = model.forward(windows, start).select(1, 0);
  const std::vector<double> values = to_vector(logits.to(DType::Float32));
  std::vector<int64_t> languages;
  for (int64_t row = 0; row < count; ++row) {
    const auto logit = [&](int64_t token) {
      return values[static_cast<size_t>(row * logits.size(1) + token)];
    };
    int64_t best = tokens.languages.begin()->second;
    for (const auto& [name, token] : tokens.languages)
      if (logit(token) > logit(best)) best = token;
    languages.push_back(best);
  }
  return languages;
}

class Transcription {
 public:
  Transcription(Whisper& model, const WhisperTokens& tokens, std::span<const SoundFeatures> sounds,
                const TranscriptionOptions& options)
      : model_(model),
        tokens_(tokens),
        sounds_(sounds),
        options_(options),
        frames_(kFramesAPosition * model.config().source_positions),
        transcripts_(sounds.size()),
        seek_(sounds.size()) {
    check(!options.timestamps || tokens.no_timestamps, ErrorKind::Argument, kTranscribe,
          "timestamps: the model has no tokens for them");
    check(!options.translate || tokens.translate, ErrorKind::Argument, kTranscribe,
          "translate: the model has no token for it");
    check(options.language.empty() || !tokens.languages.empty(), ErrorKind::Argument, kTranscribe,
          "language is ", options.language, ", the model has no tokens for languages");
    for (const SoundFeatures& sound : sounds)
      check(sound.features.dim() == 2 && sound.features.size(1) >= frames_ && sound.frames >= 0 &&
                sound.frames <= sound.features.size(1),
            ErrorKind::Shape, kTranscribe, "features have shape ", sound.features.shape(), " and ",
            sound.frames, " frames of sound, takes [mel_bins, at least ", frames_, "]");
  }

  std::vector<Transcript> run() {
    std::vector<size_t> left(sounds_.size());
    for (size_t i = 0; i < left.size(); ++i) left[i] = i;
    for (bool first = true; !left.empty(); first = false) {
      hear(left, first);
      std::erase_if(left, [&](size_t i) { return seek_[i] >= sounds_[i].frames; });
    }
    return std::move(transcripts_);
  }

 private:
  // A window of each of these.
  void hear(const std::vector<size_t>& left, bool first) {
    std::vector<Tensor> parts;
    parts.reserve(left.size());
    for (const size_t i : left) parts.push_back(window_at(sounds_[i], seek_[i], frames_));
    const Tensor windows = stack(parts, 0).to(model_.device());
    if (first) tell_languages(left, windows);
    const std::vector<GeneratedSequence> found =
        generate_sequences(model_, windows, {}, options_for(left));
    for (size_t row = 0; row < left.size(); ++row) add(left[row], found[row].ids);
  }

  void tell_languages(const std::vector<size_t>& left, const Tensor& windows) {
    if (tokens_.languages.empty()) return;
    std::vector<int64_t> languages;
    if (options_.language.empty()) languages = languages_of(model_, tokens_, windows);
    for (size_t row = 0; row < left.size(); ++row)
      transcripts_[left[row]].language =
          options_.language.empty() ? languages[row] : language_token(tokens_, options_.language);
  }

  SequenceGenerationOptions options_for(const std::vector<size_t>& left) const {
    SequenceGenerationOptions options{
        .beams = options_.beams, .sampling = options_.sampling, .stop_tokens = tokens_.ends};
    for (const size_t i : left)
      options.prompts.push_back(transcript_prompt(tokens_, transcripts_[i].language,
                                                  options_.translate, options_.timestamps));
    const int64_t positions =
        model_.config().target_positions - std::ssize(options.prompts.front());
    options.max_tokens = std::min(options_.max_tokens, positions);
    options.rules.push_back(std::make_shared<SuppressionRule>(tokens_.never, tokens_.not_at_first));
    if (options_.timestamps) options.rules.push_back(std::make_shared<TimestampRule>(tokens_));
    return options;
  }

  void add(size_t sound, const std::vector<int64_t>& ids) {
    const int64_t seek = seek_[sound], window = std::min(frames_, sounds_[sound].frames - seek);
    std::vector<TranscriptSegment>& segments = transcripts_[sound].segments;
    if (!options_.timestamps) {
      segments.push_back({0, window, ids});
      seek_[sound] = sounds_[sound].frames;
      return;
    }
    WindowSegments found = segments_of(ids, tokens_, window);
    for (TranscriptSegment& segment : found.segments)
      segments.push_back({seek + segment.first, seek + segment.last, std::move(segment.ids)});
    seek_[sound] += found.frames;
  }

  Whisper& model_;
  const WhisperTokens& tokens_;
  std::span<const SoundFeatures> sounds_;
  const TranscriptionOptions& options_;
  int64_t frames_;  // of a window
  std::vector<Transcript> transcripts_;
  std::vector<int64_t> seek_;  // frames that are done with
};

}  // namespace

void TimestampRule::apply(std::span<const int64_t> ids, std::span<float> log_probabilities) const {
  const auto first = static_cast<size_t>(*tokens_.no_timestamps + 1);
  const auto text = log_probabilities.first(first);
  const auto times = log_probabilities.subspan(first);
  text.back() = kNever;  // <|notimestamps|>
  const bool after_time = !ids.empty() && tokens_.is_timestamp(ids.back());
  const bool after_pair = ids.size() < 2 || tokens_.is_timestamp(ids[ids.size() - 2]);
  if (after_time && after_pair) std::ranges::fill(times, kNever);
  if (after_time && !after_pair)
    std::ranges::fill(text.first(std::min(first, static_cast<size_t>(tokens_.end()))), kNever);
  const auto last = std::ranges::find_if(ids.rbegin(), ids.rend(),
                                         [&](int64_t id) { return tokens_.is_timestamp(id); });
  if (last != ids.rend()) {
    // The start of the next segment may be the end of the last; an end is later than its start.
    const int64_t least = tokens_.position_of(*last) + (after_time && !after_pair ? 0 : 1);
    std::ranges::fill(times.first(std::min(times.size(), static_cast<size_t>(least))), kNever);
  }
  if (ids.empty()) {
    std::ranges::fill(text, kNever);
    if (tokens_.most_initial && static_cast<size_t>(*tokens_.most_initial) + 1 < times.size())
      std::ranges::fill(times.subspan(static_cast<size_t>(*tokens_.most_initial) + 1), kNever);
  }
  if (!times.empty() && log_total_probability(times) > static_cast<double>(std::ranges::max(text)))
    std::ranges::fill(text, kNever);
}

WindowSegments segments_of(std::span<const int64_t> ids, const WhisperTokens& tokens,
                           int64_t window_frames) {
  WindowSegments found{.segments = {}, .frames = window_frames};
  const auto frame_of = [&](int64_t id) {
    return kFramesAPosition * std::max<int64_t>(0, tokens.position_of(id));
  };
  const auto add = [&](std::span<const int64_t> part, int64_t first, int64_t last) {
    found.segments.push_back({.first = first, .last = last, .ids = {}});
    TranscriptSegment& segment = found.segments.back();
    std::ranges::copy_if(part, std::back_inserter(segment.ids),
                         [&](int64_t id) { return !tokens.is_timestamp(id); });
  };
  const auto is_time = [&](size_t i) { return tokens.is_timestamp(ids[i]); };
  size_t start = 0;
  for (size_t i = 1; i < ids.size(); ++i) {
    if (!is_time(i - 1) || !is_time(i)) continue;
    add(ids.subspan(start, i - start), frame_of(ids[start]), frame_of(ids[i - 1]));
    start = i;
  }
  const size_t count = ids.size();
  if (start == 0) {  // no pair: all of the window is one segment
    const auto last = std::ranges::find_if(ids.rbegin(), ids.rend(),
                                           [&](int64_t id) { return tokens.is_timestamp(id); });
    const bool is_told = last != ids.rend() && tokens.position_of(*last) > 0;
    if (!ids.empty()) add(ids, 0, is_told ? frame_of(*last) : window_frames);
    return found;
  }
  // An end that no start follows says that nothing more is said; without it the text was cut off,
  // and the next window begins where that part did.
  if (count >= 2 && !is_time(count - 2) && is_time(count - 1)) {
    add(ids.subspan(start), frame_of(ids[start]), frame_of(ids.back()));
    return found;
  }
  const int64_t done = frame_of(ids[start - 1]);
  found.frames = done > 0 ? done : window_frames;
  return found;
}

int64_t language_token(const WhisperTokens& tokens, const std::string& language) {
  const auto found = tokens.languages.find(language);
  if (found != tokens.languages.end()) return found->second;
  std::string known;
  for (const auto& [name, token] : tokens.languages) known += (known.empty() ? "" : " ") + name;
  throw Error(ErrorKind::Argument, kTranscribe,
              detail::concat("language is ", language, ", takes one of ", known));
}

std::vector<Transcript> transcribe(Whisper& model, const WhisperTokens& tokens,
                                   std::span<const SoundFeatures> sounds,
                                   const TranscriptionOptions& options) {
  return Transcription(model, tokens, sounds, options).run();
}

}  // namespace plinth
