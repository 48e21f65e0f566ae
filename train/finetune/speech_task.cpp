#include "train/finetune/speech_task.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/io/file.h"
#include "core/ops/ctc_loss.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "core/ops/views.h"
#include "data/audio/feature_settings.h"
#include "data/images/preprocessing.h"
#include "metrics/errors.h"
#include "models/registry.h"
#include "models/whisper/ctc.h"
#include "train/finetune/block_number.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/sound_data.h"
#include "train/finetune/transcript_units.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

class SpeechTask;

// Batches are {features [samples, bins, frames]} and, with texts, {numbers [samples, most], how
// many of each [samples]}.
class SpeechData final : public SoundData {
 public:
  SpeechData(const SpeechTask& task, std::vector<AudioEntry> entries, bool has_texts);

  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;

 private:
  Batch read(std::span<const int64_t> samples, int64_t width,
             const Transform& transform) const override;

  const SpeechTask& task_;
  bool has_texts_;
  std::vector<std::vector<int64_t>> numbers_;  // of their texts
  size_t longest_ = 1;
};

class SpeechTask final : public FinetuneTask {
 public:
  SpeechTask(const TaskSettings& settings, std::unique_ptr<WhisperCtc> model,
             const fs::path& directory)
      : settings_(settings),
        model_(std::move(model)),
        features_(
            read_feature_settings(directory, whisper().mel_bins, 2 * whisper().source_positions)),
        log_mel_(features_),
        units_(model_->config().labels, model_->config().words) {
    check(settings.class_weights.empty(), ErrorKind::Config, "task.class_weights", "got ",
          settings.class_weights.size(), " numbers, takes none for sounds");
  }

  nn::Module& model() override { return *model_; }
  std::string title() const override {
    return detail::concat("whisper encoder, ", kSpeechTask, ", ", units_.size(), " labels");
  }
  // A class needs a position at least.
  int64_t width() const override { return whisper().source_positions; }
  std::vector<std::string> score_names() const override { return {"wer", "cer"}; }
  bool takes_files() const override { return true; }
  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override;
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override;

  // [samples, positions, 2]: the likeliest class of each position, and its log-probability.
  Tensor outputs(const Batch& batch) override { return best_of(log_probabilities(batch)); }
  Tensor loss(const Batch& batch, Tensor* outputs) override;

  int64_t depths() const override { return whisper().encoder_layers + 2; }
  int64_t depth_of(std::string_view parameter) const override;
  bool is_trunk(std::string_view parameter) const override {
    return parameter.starts_with("encoder.");
  }

  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override {
    return {{"config.json", model_->config_json(model_->parameters()[0].dtype())},
            {kPreprocessingFile, feature_settings_json(features_)}};
  }
  void save(const fs::path& directory) const override {
    save_pretrained(*model_, model_->weight_slices(), texts().at("config.json"), directory);
    write_file_atomically(directory / kPreprocessingFile, feature_settings_json(features_));
  }

  const WhisperConfig& whisper() const { return model_->config().whisper; }
  const TaskSettings& settings() const { return settings_; }
  const LogMelOptions& features() const { return features_; }
  const LogMel& log_mel() const { return log_mel_; }
  const TranscriptUnits& units() const { return units_; }

 private:
  Tensor log_probabilities(const Batch& batch) {
    return log_softmax(model_->forward(batch[0].to(model_->device())), -1);
  }
  static Tensor best_of(const Tensor& log_probabilities) {
    const Tensor wide = log_probabilities.detach().to(DType::Float32);
    return stack({argmax(wide, -1).to(DType::Float32), amax(wide, {-1})}, -1);
  }

  TaskSettings settings_;
  std::unique_ptr<WhisperCtc> model_;
  LogMelOptions features_;
  LogMel log_mel_;
  TranscriptUnits units_;
};

std::unique_ptr<TaskData> SpeechTask::read(const std::vector<fs::path>& files) const {
  return std::make_unique<SpeechData>(*this, read_sounds(files), /*has_texts=*/true);
}

std::unique_ptr<TaskData> SpeechTask::inputs(std::span<const TaskInput> inputs) const {
  return std::make_unique<SpeechData>(*this, sounds_of(inputs, kSpeechTask), /*has_texts=*/false);
}

// Every position counts: what is behind a shorter sound is silence, for which blanks stand.
Tensor SpeechTask::loss(const Batch& batch, Tensor* outputs) {
  const Tensor log_probabilities = this->log_probabilities(batch);
  if (outputs) *outputs = best_of(log_probabilities);
  const Device device = log_probabilities.device();
  const Tensor positions =
      full({log_probabilities.size(0)}, static_cast<double>(log_probabilities.size(1)),
           {DType::Int64, device});
  return ctc_loss(log_probabilities.transpose(0, 1), batch.at(1).to(device), positions,
                  batch.at(2).to(device), {.zero_infinity = true});
}

// The stem lies below the first block; the last norm goes with the last.
int64_t SpeechTask::depth_of(std::string_view parameter) const {
  if (!is_trunk(parameter)) return depths() - 1;
  if (parameter.starts_with("encoder.norm.")) return depths() - 2;
  const std::optional<int64_t> block = block_number(parameter, "encoder.blocks.block");
  return block ? *block + 1 : 0;
}

// Why the task cannot use a sound of so many samples and its text, if so.
std::optional<std::string> refusal(const SpeechTask& task, const AudioEntry& entry,
                                   int64_t samples) {
  if (auto reason = too_long(entry, samples, task.log_mel(), task.features().sample_rate))
    return reason;
  const int64_t steps =
      TranscriptUnits::steps_for(task.units().encode(entry.text, entry.file.string()));
  if (steps <= task.whisper().source_positions) return std::nullopt;
  return detail::concat(entry.file.string(), ": its text needs ", steps,
                        " positions, the model has ", task.whisper().source_positions);
}

SpeechData::SpeechData(const SpeechTask& task, std::vector<AudioEntry> entries, bool has_texts)
    : SoundData(
          std::move(entries), task.features().sample_rate, task.settings().spec_augment,
          [&](const AudioEntry& entry, int64_t samples) { return refusal(task, entry, samples); }),
      task_(task),
      has_texts_(has_texts) {
  for (int64_t i = 0; has_texts && i < size(); ++i)
    numbers_.push_back(task.units().encode(entry(i).text, entry(i).file.string()));
  for (const std::vector<int64_t>& row : numbers_) longest_ = std::max(longest_, row.size());
}

Batch SpeechData::read(std::span<const int64_t> samples, int64_t width,
                       const Transform& transform) const {
  std::vector<Tensor> features(samples.size());
  visit(samples, [&](size_t i, const std::vector<float>& sound) {
    features[i] = transform(task_.log_mel()(sound), i);
  });
  Batch batch = {stack(features, 0)};
  if (!has_texts_) return batch;
  size_t most = width > 0 ? longest_ : 1;
  for (const int64_t sample : samples)
    most = std::max(most, numbers_[static_cast<size_t>(sample)].size());
  std::vector<int64_t> numbers, lengths;
  for (const int64_t sample : samples) {
    const std::vector<int64_t>& row = numbers_[static_cast<size_t>(sample)];
    numbers.insert(numbers.end(), row.begin(), row.end());
    numbers.resize(numbers.size() + most - row.size());
    lengths.push_back(std::ssize(row));
  }
  batch.push_back(from_values(numbers, {std::ssize(lengths), static_cast<int64_t>(most)}));
  batch.push_back(from_values(lengths, {std::ssize(lengths)}));
  return batch;
}

// What outputs() gave for a sound.
struct Heard {
  std::string text;
  double score = 0;  // geometric mean of its classes' probabilities
};

Heard heard_in(const std::vector<double>& outputs, const TranscriptUnits& units) {
  std::vector<int64_t> path;
  double sum = 0;
  for (size_t i = 0; i + 1 < outputs.size(); i += 2) {
    path.push_back(static_cast<int64_t>(outputs[i]));
    sum += outputs[i + 1];
  }
  return {units.decode(path), std::exp(sum / static_cast<double>(path.size()))};
}

std::vector<TaskScore> SpeechData::score(const TaskOutputs& outputs) const {
  std::vector<std::string> transcripts, references;
  for (size_t i = 0; i < outputs.size(); ++i) {
    transcripts.push_back(heard_in(outputs[i], task_.units()).text);
    references.push_back(entry(static_cast<int64_t>(i)).text);
  }
  return {{.name = "wer",
           .value = metrics::word_errors(transcripts, references).rate(),
           .less_is_better = true},
          {.name = "cer",
           .value = metrics::character_errors(transcripts, references).rate(),
           .less_is_better = true}};
}

std::vector<std::string> SpeechData::predictions(const TaskOutputs& outputs) const {
  return lines([&](int64_t sample, nlohmann::ordered_json& line) {
    const Heard heard = heard_in(outputs[static_cast<size_t>(sample)], task_.units());
    line["text"] = heard.text;
    line["score"] = heard.score;
  });
}

std::vector<std::string> labels_of(const std::vector<fs::path>& files, bool words) {
  std::vector<std::string> texts;
  for (AudioEntry& entry : read_sounds(files)) texts.push_back(std::move(entry.text));
  return transcript_labels(texts, words);
}

// A recogniser of these labels: as it is, if the directory's has them, else with a new head.
std::unique_ptr<WhisperCtc> model_for(const fs::path& directory,
                                      const std::vector<std::string>& labels, bool words,
                                      uint64_t seed,
                                      const std::function<void(const std::string&)>& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  const std::string type = json.text("model_type", "");
  check(type == "whisper" || is_whisper_ctc(json), ErrorKind::Config, "model.directory",
        directory.string(), " holds a ", type, ", takes a whisper or whisper_ctc");
  if (!has_weights(directory)) {
    tell("the directory has no weights: all begin at random");
    auto model = std::make_unique<WhisperCtc>(
        WhisperCtcConfig{WhisperConfig::encoder_from_json(json), labels, words});
    model->reset_parameters(seed);
    return model;
  }
  if (is_whisper_ctc(json)) {
    std::unique_ptr<WhisperCtc> model = load_whisper_ctc(directory);
    const auto is_known = [&](const std::string& label) {
      return std::ranges::find(model->config().labels, label) != model->config().labels.end();
    };
    if (model->config().words == words && std::ranges::all_of(labels, is_known)) return model;
  }
  tell("the head begins with random weights");
  return make_whisper_ctc(directory, labels, words, seed);
}

}  // namespace

bool is_speech_recogniser(const ConfigJson& config) {
  return is_whisper_ctc(config);
}

std::unique_ptr<FinetuneTask> load_speech_task(const TaskSettings& settings,
                                               const fs::path& directory) {
  return std::make_unique<SpeechTask>(settings, load_whisper_ctc(directory), directory);
}

std::unique_ptr<FinetuneTask> make_speech_task(
    const TaskSettings& settings, const fs::path& directory, const std::vector<fs::path>& train,
    uint64_t seed, const std::function<void(const std::string&)>& tell) {
  const bool words = settings.units == "words";
  std::vector<std::string> labels = labels_of(train, words);
  if (!settings.labels.empty()) labels = settings.labels;
  check(labels.size() >= 2, ErrorKind::Config, "task.labels", "got ", labels.size(),
        settings.labels.empty() ? " in the training data" : "", ", takes 2 or more");
  std::unique_ptr<WhisperCtc> model = model_for(directory, labels, words, seed, tell);
  return std::make_unique<SpeechTask>(settings, std::move(model), directory);
}

}  // namespace plinth
