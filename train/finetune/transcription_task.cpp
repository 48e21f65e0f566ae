#include "train/finetune/transcription_task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "data/audio/feature_settings.h"
#include "data/audio/log_mel.h"
#include "data/images/preprocessing.h"
#include "data/loader/sample_source.h"
#include "data/tokenizer/tokenizer.h"
#include "metrics/errors.h"
#include "models/encoder_decoder_registry.h"
#include "models/whisper/transcription.h"
#include "train/finetune/encoder_decoder_depth.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/sound_data.h"
#include "train/finetune/written_text.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoNumber = -1;      // behind the end of an output; no language
constexpr double kMostSeconds = 3600;  // of a sound
constexpr const char* kGenerationFile = "generation_config.json";

class TranscriptionTask;

// Batches are {features [samples, bins, frames], frames of each that are sound [samples]} and, with
// texts, labels [samples, most].
class TranscriptionData final : public SoundData {
 public:
  TranscriptionData(const TranscriptionTask& task, std::vector<AudioEntry> entries, bool has_texts);

  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;

 private:
  Batch read(std::span<const int64_t> samples, int64_t width,
             const Transform& transform) const override;

  const TranscriptionTask& task_;
  bool has_texts_;
  std::vector<std::vector<int64_t>> labels_;
  size_t longest_ = 0;
};

// An output is the token of the language, and for each segment its first and last frame, the number
// of its tokens, and these.
class TranscriptionTask final : public FinetuneTask {
 public:
  TranscriptionTask(const TaskSettings& settings, std::unique_ptr<Whisper> model,
                    const fs::path& directory);

  nn::Module& model() override { return *model_; }
  std::string title() const override { return detail::concat("whisper, ", kTranscriptionTask); }
  int64_t width() const override { return most_labels(); }
  std::vector<std::string> score_names() const override { return {"wer", "cer"}; }
  bool takes_files() const override { return true; }

  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override;
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override;
  Tensor outputs(const Batch& batch) override;
  Tensor loss(const Batch& batch, Tensor* outputs) override;

  int64_t depths() const override { return encoder_decoder_depths(model_->info()); }
  int64_t depth_of(std::string_view parameter) const override {
    return encoder_decoder_depth(model_->info(), parameter);
  }
  bool is_trunk(std::string_view parameter) const override { return parameter != "head"; }

  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override;
  void save(const fs::path& directory) const override;

  const TaskSettings& settings() const { return settings_; }
  const LogMelOptions& features() const { return features_; }
  const LogMel& log_mel() const { return log_mel_; }
  // What the decoder is to write for a text, the tokens before it and the end included.
  std::vector<int64_t> labels_of(const std::string& text) const;
  int64_t most_labels() const { return model_->config().target_positions; }

  struct Heard {
    std::string language, text;
    struct Segment {
      double start = 0, end = 0;  // in seconds
      std::string text;
    };
    std::vector<Segment> segments;
  };
  Heard heard_in(const std::vector<double>& output) const;

 private:
  TaskSettings settings_;
  std::unique_ptr<Whisper> model_;
  Tokenizer tokenizer_;
  WhisperTokens tokens_;
  std::string generation_config_;  // the file's text, "" for none
  LogMelOptions features_;
  LogMel log_mel_;
};

TranscriptionTask::TranscriptionTask(const TaskSettings& settings, std::unique_ptr<Whisper> model,
                                     const fs::path& directory)
    : settings_(settings),
      model_(std::move(model)),
      tokenizer_(Tokenizer::load(directory)),
      tokens_(read_whisper_tokens(
          directory, model_->config(),
          [&](std::string_view token) -> std::optional<int64_t> { return tokenizer_.id(token); })),
      features_(read_feature_settings(directory, model_->config().mel_bins,
                                      2 * model_->config().source_positions)),
      log_mel_(features_) {
  if (exists(directory / kGenerationFile))
    generation_config_ = read_text_file(directory / kGenerationFile);
  check(settings.class_weights.empty(), ErrorKind::Config, "task.class_weights", "got ",
        settings.class_weights.size(), " numbers, takes none for ", kTranscriptionTask);
  check(!settings.translate || tokens_.translate, ErrorKind::Config, "speech.translate",
        "is true, and the model has no token for it");
  check(settings.language.empty() || !tokens_.languages.empty(), ErrorKind::Config,
        "speech.language", "is ", settings.language, ", and the model has no tokens for languages");
  if (!settings.language.empty()) language_token(tokens_, settings.language);
  check(tokenizer_.vocab_size() <= model_->config().vocab_size, ErrorKind::Config, "tokenizer",
        "has ", tokenizer_.vocab_size(), " tokens, the model takes ", model_->config().vocab_size);
}

std::unique_ptr<TaskData> TranscriptionTask::read(const std::vector<fs::path>& files) const {
  check(tokens_.languages.empty() || !settings_.language.empty(), ErrorKind::Config,
        "speech.language", "is not given, and the model knows ", tokens_.languages.size(),
        " languages");
  return std::make_unique<TranscriptionData>(*this, read_sounds(files), /*has_texts=*/true);
}

std::unique_ptr<TaskData> TranscriptionTask::inputs(std::span<const TaskInput> inputs) const {
  return std::make_unique<TranscriptionData>(*this, sounds_of(inputs, kTranscriptionTask),
                                             /*has_texts=*/false);
}

std::vector<int64_t> TranscriptionTask::labels_of(const std::string& text) const {
  std::optional<int64_t> language;
  if (!settings_.language.empty()) language = language_token(tokens_, settings_.language);
  std::vector<int64_t> labels = transcript_prompt(tokens_, language, settings_.translate, false);
  labels.erase(labels.begin());  // the start, which the decoder is given
  const std::vector<int32_t> ids = tokenizer_.encode(text);
  labels.insert(labels.end(), ids.begin(), ids.end());
  labels.push_back(tokens_.end());
  return labels;
}

Tensor TranscriptionTask::outputs(const Batch& batch) {
  const std::vector<double> frames = to_vector(batch.at(1));
  std::vector<SoundFeatures> sounds;
  for (size_t i = 0; i < frames.size(); ++i)
    sounds.push_back(
        {batch[0].select(0, static_cast<int64_t>(i)), static_cast<int64_t>(frames[i])});
  const std::vector<Transcript> found = transcribe(*model_, tokens_, sounds,
                                                   {.language = settings_.language,
                                                    .translate = settings_.translate,
                                                    .timestamps = settings_.timestamps,
                                                    .beams = settings_.beams,
                                                    .sampling = settings_.sampling});
  std::vector<std::vector<int64_t>> rows;
  size_t width = 0;
  for (const Transcript& transcript : found) {
    std::vector<int64_t>& row = rows.emplace_back(1, transcript.language.value_or(kNoNumber));
    for (const TranscriptSegment& segment : transcript.segments) {
      row.insert(row.end(), {segment.first, segment.last, std::ssize(segment.ids)});
      row.insert(row.end(), segment.ids.begin(), segment.ids.end());
    }
    width = std::max(width, row.size());
  }
  std::vector<int64_t> flat;
  for (std::vector<int64_t>& row : rows) {
    row.resize(width, kNoNumber);
    flat.insert(flat.end(), row.begin(), row.end());
  }
  return from_values(flat, {std::ssize(rows), static_cast<int64_t>(width)});
}

Tensor TranscriptionTask::loss(const Batch& batch, Tensor* outputs) {
  if (outputs) *outputs = this->outputs(batch);
  const Device device = model_->device();
  return model_->loss(batch[0].to(device), batch.at(2).to(device));
}

TranscriptionTask::Heard TranscriptionTask::heard_in(const std::vector<double>& output) const {
  Heard heard;
  for (const auto& [name, token] : tokens_.languages)
    if (static_cast<double>(token) == output[0]) heard.language = name;
  const double rate =
      static_cast<double>(features_.hop) / static_cast<double>(features_.sample_rate);
  const auto trimmed = [](const std::string& text) {
    const size_t first = text.find_first_not_of(" \t\n"), last = text.find_last_not_of(" \t\n");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
  };
  for (size_t i = 1; i + 2 < output.size() && output[i] >= 0;) {
    const auto count = static_cast<size_t>(output[i + 2]);
    const std::string text = written_text(tokenizer_, std::span(output).subspan(i + 3, count));
    heard.segments.push_back({output[i] * rate, output[i + 1] * rate, trimmed(text)});
    heard.text += text;
    i += 3 + count;
  }
  heard.text = trimmed(heard.text);
  return heard;
}

std::map<std::string, std::string> TranscriptionTask::texts() const {
  std::map<std::string, std::string> files = tokenizer_.files();
  files["config.json"] = model_->config_json(model_->head_weight().dtype());
  files[kPreprocessingFile] = feature_settings_json(features_);
  if (!generation_config_.empty()) files[kGenerationFile] = generation_config_;
  return files;
}

void TranscriptionTask::save(const fs::path& directory) const {
  save_pretrained(*model_, directory);
  for (const auto& [name, text] : texts())
    if (name != "config.json") write_file_atomically(directory / name, text);
}

// Why the task cannot use a sound of so many samples and its text, if so. Sounds longer than a
// window can be heard, but not be learned from.
std::optional<std::string> refusal(const TranscriptionTask& task, const AudioEntry& entry,
                                   int64_t samples, bool has_text) {
  const LogMelOptions& features = task.features();
  if (has_text || !task.settings().timestamps)
    if (auto reason = too_long(entry, samples, task.log_mel(), features.sample_rate)) return reason;
  if (static_cast<double>(samples) > kMostSeconds * static_cast<double>(features.sample_rate))
    return detail::concat(entry.file.string(), ": lasts longer than ", kMostSeconds, " s");
  if (!has_text) return std::nullopt;
  const auto labels = std::ssize(task.labels_of(entry.text));
  if (labels <= task.most_labels()) return std::nullopt;
  return detail::concat(entry.file.string(), ": its text has ", labels,
                        " tokens, the model writes ", task.most_labels());
}

TranscriptionData::TranscriptionData(const TranscriptionTask& task, std::vector<AudioEntry> entries,
                                     bool has_texts)
    : SoundData(std::move(entries), task.features().sample_rate, task.settings().spec_augment,
                [&](const AudioEntry& entry, int64_t samples) {
                  return refusal(task, entry, samples, has_texts);
                }),
      task_(task),
      has_texts_(has_texts) {
  for (int64_t i = 0; has_texts && i < size(); ++i)
    labels_.push_back(task.labels_of(entry(i).text));
  for (const std::vector<int64_t>& row : labels_) longest_ = std::max(longest_, row.size());
}

// Features of a whole sound; of one shorter than a window with the silence behind it.
Tensor features_of(const TranscriptionTask& task, const std::vector<float>& sound) {
  if (std::ssize(sound) <= task.log_mel().samples()) return task.log_mel()(sound);
  LogMelOptions longer = task.features();
  const int64_t hops = (std::ssize(sound) + longer.hop - 1) / longer.hop;
  longer.seconds = static_cast<double>(hops * longer.hop) / static_cast<double>(longer.sample_rate);
  return LogMel(longer)(sound);
}

// [rows, most] of lists of numbers, filled up; at least `least` wide.
Tensor filled(const std::vector<std::vector<int64_t>>& rows, size_t least, int64_t value) {
  const size_t most =
      std::max(least, std::ranges::max(rows, {}, &std::vector<int64_t>::size).size());
  std::vector<int64_t> flat;
  for (std::vector<int64_t> row : rows) {
    row.resize(most, value);
    flat.insert(flat.end(), row.begin(), row.end());
  }
  return from_values(flat, {std::ssize(rows), static_cast<int64_t>(most)});
}

Batch TranscriptionData::read(std::span<const int64_t> samples, int64_t width,
                              const Transform& transform) const {
  std::vector<Tensor> features(samples.size());
  std::vector<int64_t> frames(samples.size());
  visit(samples, [&](size_t i, const std::vector<float>& sound) {
    features[i] = transform(features_of(task_, sound), i);
    const int64_t hop = task_.features().hop;
    frames[i] = std::min(features[i].size(1), (std::ssize(sound) + hop - 1) / hop);
  });
  int64_t longest = 0;
  for (const Tensor& each : features) longest = std::max(longest, each.size(1));
  for (Tensor& each : features) {
    const int64_t behind = longest - each.size(1);
    if (behind > 0) each = cat({each, zeros({each.size(0), behind})}, 1);
  }
  Batch batch = {stack(features, 0), from_values(frames, {std::ssize(frames)})};
  if (!has_texts_) return batch;
  std::vector<std::vector<int64_t>> labels;
  for (const int64_t sample : samples) labels.push_back(labels_[static_cast<size_t>(sample)]);
  batch.push_back(filled(labels, width > 0 ? longest_ : 0, kIgnoredTarget));
  return batch;
}

std::vector<TaskScore> TranscriptionData::score(const TaskOutputs& outputs) const {
  std::vector<std::string> transcripts, references;
  for (size_t i = 0; i < outputs.size(); ++i) {
    transcripts.push_back(task_.heard_in(outputs[i]).text);
    references.push_back(entry(static_cast<int64_t>(i)).text);
  }
  return {{.name = "wer",
           .value = metrics::word_errors(transcripts, references).rate(),
           .less_is_better = true},
          {.name = "cer",
           .value = metrics::character_errors(transcripts, references).rate(),
           .less_is_better = true}};
}

std::vector<std::string> TranscriptionData::predictions(const TaskOutputs& outputs) const {
  return lines([&](int64_t sample, nlohmann::ordered_json& line) {
    const TranscriptionTask::Heard heard = task_.heard_in(outputs[static_cast<size_t>(sample)]);
    line["text"] = heard.text;
    if (!heard.language.empty()) line["language"] = heard.language;
    if (!task_.settings().timestamps) return;
    line["segments"] = nlohmann::ordered_json::array();
    for (const auto& segment : heard.segments)
      line["segments"].push_back(
          {{"start", segment.start}, {"end", segment.end}, {"text", segment.text}});
  });
}

std::unique_ptr<Whisper> whisper_of(std::unique_ptr<EncoderDecoder> model) {
  return std::unique_ptr<Whisper>(static_cast<Whisper*>(model.release()));
}

}  // namespace

bool is_transcriber(const ConfigJson& config) {
  return config.text("model_type", "") == "whisper";
}

std::unique_ptr<FinetuneTask> load_transcription_task(const TaskSettings& settings,
                                                      const fs::path& directory) {
  return std::make_unique<TranscriptionTask>(settings, whisper_of(load_encoder_decoder(directory)),
                                             directory);
}

std::unique_ptr<FinetuneTask> make_transcription_task(
    const TaskSettings& settings, const fs::path& directory, uint64_t seed,
    const std::function<void(const std::string&)>& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  check(is_transcriber(json), ErrorKind::Config, "model.directory", directory.string(), " holds a ",
        json.text("model_type", ""), ", takes a whisper");
  if (has_weights(directory)) return load_transcription_task(settings, directory);
  tell("the directory has no weights: all begin at random");
  std::unique_ptr<Whisper> model = whisper_of(make_encoder_decoder(json));
  model->reset_parameters(seed);
  return std::make_unique<TranscriptionTask>(settings, std::move(model), directory);
}

}  // namespace plinth
