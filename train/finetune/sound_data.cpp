#include "train/finetune/sound_data.h"

#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "core/io/json.h"

namespace plinth {

SoundData::SoundData(std::vector<AudioEntry> entries, int64_t sample_rate,
                     const SpecAugmentOptions& masks, const Refusal& refusal)
    : masks_(masks) {
  sounds_ = std::make_unique<AudioDataset>(entries, sample_rate);
  std::vector<std::optional<std::string>> faults(entries.size());
  std::vector<int64_t> all(entries.size());
  std::iota(all.begin(), all.end(), 0);
  sounds_->visit(all, [&](size_t i, const std::optional<AudioSample>& sample) {
    if (sample) faults[i] = refusal(entries[i], std::ssize(sample->sound));
  });
  for (const SkippedAudio& skipped : sounds_->skipped())
    faults[static_cast<size_t>(skipped.entry)] = skipped.reason;
  std::vector<AudioEntry> kept;
  for (size_t i = 0; i < entries.size(); ++i) {
    given_.push_back(faults[i] ? std::optional<Fault>({entries[i].file, *faults[i]})
                               : std::nullopt);
    if (!faults[i]) kept.push_back(std::move(entries[i]));
  }
  sounds_ = std::make_unique<AudioDataset>(std::move(kept), sample_rate);
}

Batch SoundData::batch(std::span<const int64_t> samples, int64_t width) const {
  return read(samples, width, [](const Tensor& features, size_t) { return features; });
}

Batch SoundData::training_batch(std::span<const SampleKey> keys, int64_t width) const {
  std::vector<int64_t> samples;
  for (const SampleKey& key : keys) samples.push_back(key.sample);
  return read(samples, width, [&](const Tensor& features, size_t i) {
    return masks_.changes() ? spec_augment(features, keys[i], masks_) : features;
  });
}

void SoundData::visit(std::span<const int64_t> samples, const Visit& visit) const {
  std::vector<char> found(samples.size());
  sounds_->visit(samples, [&](size_t i, const std::optional<AudioSample>& sample) {
    if (!sample) return;
    visit(i, sample->sound);
    found[i] = 1;
  });
  // Each could be read before.
  for (size_t i = 0; i < samples.size(); ++i)
    check(found[i] != 0, ErrorKind::Io, entry(samples[i]).file.string(),
          "is gone, or another file than before");
}

std::vector<std::string> SoundData::lines(
    const std::function<void(int64_t sample, nlohmann::ordered_json& line)>& tell) const {
  std::vector<std::string> lines;
  int64_t next = 0;
  for (const std::optional<Fault>& fault : given_) {
    nlohmann::ordered_json json;
    if (fault) {
      json["audio"] = fault->file.string();
      json["error"] = fault->reason;
    } else {
      json["audio"] = entry(next).file.string();
      tell(next++, json);
    }
    lines.push_back(json_text(json));
  }
  return lines;
}

std::string SoundData::faults() const {
  constexpr int64_t kMost = 5;
  std::string text;
  int64_t count = 0;
  for (const std::optional<Fault>& fault : given_)
    if (fault && count++ < kMost) text += (count > 1 ? "; " : "") + fault->reason;
  if (count == 0) return "";
  if (count > kMost) text += detail::concat("; and ", count - kMost, " more");
  return detail::concat(count, " of ", given_.size(), " sounds were left out: ", text);
}

std::vector<AudioEntry> read_sounds(const std::vector<std::filesystem::path>& manifests) {
  std::vector<AudioEntry> entries;
  for (const std::filesystem::path& manifest : manifests) {
    std::vector<AudioEntry> some = read_audio_manifest(manifest);
    std::ranges::move(some, std::back_inserter(entries));
  }
  return entries;
}

std::vector<AudioEntry> sounds_of(std::span<const TaskInput> inputs, std::string_view task) {
  std::vector<AudioEntry> entries;
  for (const TaskInput& input : inputs) {
    check(input.words.empty() && input.second.empty(), ErrorKind::Argument, task,
          "got words or a second text, takes the path of a sound");
    entries.push_back({input.text, ""});
  }
  return entries;
}

std::optional<std::string> too_long(const AudioEntry& entry, int64_t samples,
                                    const LogMel& features, int64_t sample_rate) {
  if (samples <= features.samples()) return std::nullopt;
  const auto rate = static_cast<double>(sample_rate);
  return detail::concat(entry.file.string(), ": lasts ", static_cast<double>(samples) / rate,
                        " s, the model hears ", static_cast<double>(features.samples()) / rate);
}

}  // namespace plinth
