#include "data/audio/audio_dataset.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "data/audio/audio_file.h"
#include "data/json_fields.h"
#include "data/tokenizer/parallel_tasks.h"

namespace plinth {

std::vector<AudioEntry> read_audio_manifest(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  std::vector<AudioEntry> entries;
  std::string_view rest = text;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const std::string_view row = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), row.size() + 1));
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string subject = detail::concat(path.string(), ":", line);
    const nlohmann::json entry = parse_json(row, subject);
    check(entry.is_object(), ErrorKind::Format, subject,
          "takes an object with \"audio\" and \"text\"");
    const std::filesystem::path file = json_fields::string(entry, "audio", subject);
    check(!file.empty(), ErrorKind::Format, subject, "audio is empty, takes a file");
    entries.push_back({path.parent_path() / file, json_fields::string(entry, "text", subject)});
  }
  return entries;
}

AudioDataset::AudioDataset(const std::filesystem::path& manifest, int64_t sample_rate)
    : entries_(read_audio_manifest(manifest)), sample_rate_(sample_rate) {
  check(!entries_.empty(), ErrorKind::Format, manifest.string(), "lists no sounds");
}

std::optional<AudioSample> AudioDataset::sample(int64_t i) {
  check(i >= 0 && i < size(), ErrorKind::Argument, "AudioDataset", "there is no entry ", i,
        ", it has ", size());
  const AudioEntry& entry = entries_[static_cast<size_t>(i)];
  try {
    return AudioSample{read_audio(entry.file, sample_rate_), entry.text};
  } catch (const Error& error) {
    // A wrong rate is not the file's fault.
    if (error.kind() == ErrorKind::Argument) throw;
    const std::lock_guard lock(mutex_);
    skipped_.insert({i, {i, entry.file, error.what()}});
    return std::nullopt;
  }
}

void AudioDataset::visit(
    std::span<const int64_t> entries,
    const std::function<void(size_t, const std::optional<AudioSample>&)>& visit) {
  parallel_tasks(std::ssize(entries), [&](int64_t i) {
    const auto place = static_cast<size_t>(i);
    visit(place, sample(entries[place]));
  });
}

std::vector<SkippedAudio> AudioDataset::skipped() const {
  const std::lock_guard lock(mutex_);
  std::vector<SkippedAudio> all;
  for (const auto& [entry, skipped] : skipped_) all.push_back(skipped);
  return all;
}

}  // namespace plinth
