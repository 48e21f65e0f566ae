#pragma once

// Sounds with their transcripts, as a manifest lists them.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace plinth {

struct AudioEntry {
  std::filesystem::path file;
  std::string text;
};

// The lines of a manifest, each an object of JSON: {"audio": "clips/1.flac", "text": "what is
// said"}; a file that is not absolute lies beside the manifest. Empty lines count for nothing.
// Throws Error(Io) or Error(Format) naming file and line.
std::vector<AudioEntry> read_audio_manifest(const std::filesystem::path& path);

struct AudioSample {
  std::vector<float> sound;  // in [-1, 1] at the dataset's rate
  std::string text;
};

// A sound that could not be read.
struct SkippedAudio {
  int64_t entry = 0;
  std::filesystem::path file;
  std::string reason;
};

// Files are read when they are asked for. Several threads may ask.
class AudioDataset {
 public:
  // Throws what read_audio_manifest() does, Error(Format) for a manifest without entries.
  explicit AudioDataset(const std::filesystem::path& manifest, int64_t sample_rate = 16000);
  // Of these, in their order; none are allowed.
  explicit AudioDataset(std::vector<AudioEntry> entries, int64_t sample_rate = 16000)
      : entries_(std::move(entries)), sample_rate_(sample_rate) {}

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  const std::vector<AudioEntry>& entries() const { return entries_; }

  // Entry i; nothing where its file cannot be read, or is no sound: then it is one of skipped().
  // Throws Error(Argument) for an entry that there is not.
  std::optional<AudioSample> sample(int64_t i);
  // sample() of each of `entries`, from several threads, in any order; `visit` is also told the
  // place among them. What it throws is thrown on.
  void visit(std::span<const int64_t> entries,
             const std::function<void(size_t, const std::optional<AudioSample>&)>& visit);
  // Entries that were skipped so far, each once, in their order in the manifest.
  std::vector<SkippedAudio> skipped() const;

 private:
  std::vector<AudioEntry> entries_;
  int64_t sample_rate_;
  mutable std::mutex mutex_;
  std::map<int64_t, SkippedAudio> skipped_;  // by entry
};

}  // namespace plinth
