#include "train/finetune/tasks.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "models/registry.h"
#include "train/finetune/bert_tasks.h"
#include "train/finetune/detection_task.h"
#include "train/finetune/image_task.h"
#include "train/finetune/segmentation_task.h"
#include "train/finetune/sequence_task.h"
#include "train/finetune/speech_task.h"
#include "train/finetune/transcription_task.h"
#include "train/finetune/zero_shot_task.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

// A task, and BERT's way to do it.
struct BertTaskKind {
  std::string_view name;
  BertTask head;
  std::unique_ptr<FinetuneTask> (*make)(const TaskSettings&, std::unique_ptr<BertClassifier>,
                                        Tokenizer);
  Labels (*labels)(const TaskSettings&, const std::vector<fs::path>&);
};

constexpr std::array<BertTaskKind, 3> kBertTasks = {{
    {"text-classification", BertTask::Sequence, make_bert_text_task, text_labels},
    {"token-classification", BertTask::Token, make_bert_token_task, tag_labels},
    {"question-answering", BertTask::Span, make_bert_span_task, nullptr},
}};

std::unique_ptr<FinetuneTask> finish(const BertTaskKind& kind, TaskSettings settings,
                                     const fs::path& directory,
                                     std::unique_ptr<BertClassifier> model) {
  settings.name = kind.name;
  return kind.make(settings, std::move(model), Tokenizer::load(directory));
}

std::vector<std::string> labels_for(const BertTaskKind& kind, const TaskSettings& settings,
                                    const std::vector<fs::path>& train) {
  if (!kind.labels) return BertClassifierConfig().labels;
  const std::vector<std::string> labels =
      settings.labels.empty() ? kind.labels(settings, train).names() : settings.labels;
  check(labels.size() >= 2, ErrorKind::Config, "task.labels", "got ", labels.size(),
        settings.labels.empty() ? " in the training data" : "", ", takes 2 or more");
  return labels;
}

std::unique_ptr<Bert> load_bert(const fs::path& directory) {
  std::unique_ptr<LanguageModel> model = load_pretrained(directory);
  check(dynamic_cast<Bert*>(model.get()) != nullptr, ErrorKind::Config, "model.directory",
        directory.string(), " holds a ", model->info().type, ", takes a bert");
  return std::unique_ptr<Bert>(static_cast<Bert*>(model.release()));
}

}  // namespace

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  names.reserve(kBertTasks.size() + 6);
  for (const BertTaskKind& kind : kBertTasks) names.emplace_back(kind.name);
  names.emplace_back(kImageTask);
  names.emplace_back(kDetectionTask);
  names.emplace_back(kSegmentationTask);
  names.emplace_back(kSequenceTask);
  names.emplace_back(kSpeechTask);
  names.emplace_back(kTranscriptionTask);
  return names;
}

std::unique_ptr<FinetuneTask> make_task(const TaskSettings& settings, const fs::path& directory,
                                        const std::vector<fs::path>& train, uint64_t seed,
                                        const std::function<void(const std::string&)>& tell) {
  if (settings.name == kImageTask) return make_image_task(settings, directory, train, seed, tell);
  if (settings.name == kDetectionTask)
    return make_detection_task(settings, directory, train, seed, tell);
  if (settings.name == kSegmentationTask)
    return make_segmentation_task(settings, directory, train, seed, tell);
  if (settings.name == kSequenceTask) return make_sequence_task(settings, directory, seed, tell);
  if (settings.name == kSpeechTask) return make_speech_task(settings, directory, train, seed, tell);
  if (settings.name == kTranscriptionTask)
    return make_transcription_task(settings, directory, seed, tell);
  const auto* const kind = std::ranges::find(kBertTasks, settings.name, &BertTaskKind::name);
  check(kind != kBertTasks.end(), ErrorKind::Config, "task.name", "got ", settings.name,
        ", which is no task");
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  const std::optional<BertTask> head = bert_task_of(json);
  if (head == kind->head) {
    std::unique_ptr<BertClassifier> model = load_classifier(directory);
    if (settings.labels.empty() || settings.labels == model->config().labels)
      return finish(*kind, settings, directory, std::move(model));
  }
  const BertClassifierConfig config{
      .bert = {}, .task = kind->head, .labels = labels_for(*kind, settings, train)};
  std::unique_ptr<BertClassifier> model;
  if (head) {
    model = make_classifier(load_classifier(directory)->bert(), config, seed);
  } else {
    const std::unique_ptr<Bert> bert = load_bert(directory);
    const bool lacks_pooler = kind->head == BertTask::Sequence && !bert->config().parts.pooler;
    tell(detail::concat("the head", lacks_pooler ? " and the pooler begin" : " begins",
                        " with random weights"));
    model = make_classifier(*bert, config, seed);
  }
  return finish(*kind, settings, directory, std::move(model));
}

bool is_fine_tuned(const fs::path& directory) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  return bert_task_of(json).has_value() || is_image_classifier(json) || is_detector(json) ||
         is_segmenter(json) || is_sequence_model(json) || is_speech_recogniser(json) ||
         is_transcriber(json) || is_zero_shot_classifier(json);
}

std::unique_ptr<FinetuneTask> load_task(const TaskSettings& settings, const fs::path& directory) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  if (is_image_classifier(json)) return load_image_task(settings, directory);
  if (is_detector(json)) return load_detection_task(settings, directory);
  if (is_segmenter(json)) return load_segmentation_task(settings, directory);
  if (is_sequence_model(json)) return load_sequence_task(settings, directory);
  if (is_speech_recogniser(json)) return load_speech_task(settings, directory);
  if (is_transcriber(json)) return load_transcription_task(settings, directory);
  if (is_zero_shot_classifier(json)) return load_zero_shot_task(settings, directory);
  std::unique_ptr<BertClassifier> model = load_classifier(directory);
  const auto* const kind = std::ranges::find(kBertTasks, model->config().task, &BertTaskKind::head);
  check(settings.name.empty() || settings.name == kind->name, ErrorKind::Config, "task.name",
        "got ", settings.name, ", the model is one for ", kind->name);
  TaskSettings fitting = settings;
  fitting.max_length = std::min(settings.max_length, model->bert().config().context);
  return finish(*kind, fitting, directory, std::move(model));
}

}  // namespace plinth
