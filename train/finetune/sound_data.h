#pragma once

// What the tasks of sounds share: manifests, features, and sounds that are left out.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/audio/audio_dataset.h"
#include "data/audio/log_mel.h"
#include "data/audio/spec_augment.h"
#include "train/finetune/task.h"

namespace plinth {

class SoundData : public TaskData {
 public:
  // Why an entry, a sound of so many samples, cannot be used, if so.
  using Refusal = std::function<std::optional<std::string>(const AudioEntry&, int64_t samples)>;

  // Reads every sound once, so that what is trained on and scored is known before. `masks` are
  // hidden in training.
  SoundData(std::vector<AudioEntry> entries, int64_t sample_rate, const SpecAugmentOptions& masks,
            const Refusal& refusal);

  int64_t size() const override { return sounds_->size(); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const final;
  Batch training_batch(std::span<const SampleKey> keys, int64_t width) const final;
  std::string faults() const override;

 protected:
  // The batch of these, their features changed by `transform`; `i` is the place among the samples.
  // Targets are as long as the longest of the samples, or, with a width, of all.
  using Transform = std::function<Tensor(const Tensor& features, size_t i)>;
  virtual Batch read(std::span<const int64_t> samples, int64_t width,
                     const Transform& transform) const = 0;

  // Of the sounds that are left; `i` is the place among the samples. From several threads.
  using Visit = std::function<void(size_t i, const std::vector<float>& sound)>;

  // Throws Error(Io) for a file that is gone.
  void visit(std::span<const int64_t> samples, const Visit& visit) const;
  const AudioEntry& entry(int64_t sample) const {
    return sounds_->entries()[static_cast<size_t>(sample)];
  }
  // A line of JSON for every sound that was given: of those left, with what `tell` adds.
  std::vector<std::string> lines(
      const std::function<void(int64_t sample, nlohmann::ordered_json& line)>& tell) const;

 private:
  struct Fault {
    std::filesystem::path file;
    std::string reason;
  };

  SpecAugmentOptions masks_;
  std::unique_ptr<AudioDataset> sounds_;     // what is left
  std::vector<std::optional<Fault>> given_;  // of all that were given, in their order
};

// The entries of these manifests.
std::vector<AudioEntry> read_sounds(const std::vector<std::filesystem::path>& manifests);
// Those that are to be predicted from: paths. Throws Error(Argument) naming the task.
std::vector<AudioEntry> sounds_of(std::span<const TaskInput> inputs, std::string_view task);

// "a.wav: lasts 31 s, the model hears 30" for a sound longer than `features` has, else nothing.
std::optional<std::string> too_long(const AudioEntry& entry, int64_t samples,
                                    const LogMel& features, int64_t sample_rate);

}  // namespace plinth
