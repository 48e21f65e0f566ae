#include "train/finetune/sequence_task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/ops/factories.h"
#include "data/loader/sample_source.h"
#include "data/tasks/table.h"
#include "data/tokenizer/tokenizer.h"
#include "metrics/rouge.h"
#include "metrics/translation.h"
#include "models/encoder_decoder_registry.h"
#include "models/sequence_generation.h"
#include "train/finetune/encoder_decoder_depth.h"
#include "train/finetune/has_weights.h"
#include "train/finetune/written_text.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoToken = -1;  // behind the end of a generated sequence

class SequenceTask final : public FinetuneTask {
 public:
  SequenceTask(const TaskSettings& settings, std::unique_ptr<EncoderDecoder> model,
               Tokenizer tokenizer);

  nn::Module& model() override { return *model_; }
  std::string title() const override { return detail::concat(model_->info().type, ", seq2seq"); }
  int64_t width() const override { return settings_.max_length; }
  std::vector<std::string> score_names() const override {
    return {"bleu", "chrf", "rouge1", "rouge2", "rougeL"};
  }

  std::unique_ptr<TaskData> read(const std::vector<fs::path>& files) const override;
  std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const override;
  Tensor outputs(const Batch& batch) override;
  Tensor loss(const Batch& batch, Tensor* outputs) override;

  int64_t depths() const override { return encoder_decoder_depths(info()); }
  int64_t depth_of(std::string_view parameter) const override {
    return encoder_decoder_depth(info(), parameter);
  }
  bool is_trunk(std::string_view parameter) const override { return parameter != "head"; }

  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override;
  void save(const fs::path& directory) const override;

  const TaskSettings& settings() const { return settings_; }
  const EncoderDecoderInfo& info() const { return model_->info(); }
  // At most `length` tokens, the end token among them.
  std::vector<int64_t> encode(const std::string& text, int64_t length) const;
  std::string decode(const std::vector<double>& output) const {
    return written_text(tokenizer_, output);
  }

 private:
  TaskSettings settings_;
  std::unique_ptr<EncoderDecoder> model_;
  Tokenizer tokenizer_;
};

class SequenceData final : public TaskData {
 public:
  explicit SequenceData(const SequenceTask& task) : task_(task) {}

  void add(const std::string& source) {
    sources_.push_back(task_.encode(source, task_.settings().max_length));
  }
  void add(const std::string& source, const std::string& target) {
    add(source);
    targets_.push_back(task_.encode(target, task_.settings().target_length));
    references_.push_back({target});
  }
  void set_faults(std::string faults) { faults_ = std::move(faults); }

  int64_t size() const override { return std::ssize(sources_); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const override;
  std::vector<TaskScore> score(const TaskOutputs& outputs) const override;
  std::vector<std::string> predictions(const TaskOutputs& outputs) const override;
  std::string faults() const override { return faults_; }

 private:
  using Sequences = std::vector<std::vector<int64_t>>;
  // [samples, width] of these, filled up; 0: as wide as they need.
  static Tensor rows(const Sequences& sequences, std::span<const int64_t> samples, int64_t width,
                     int64_t padding);

  const SequenceTask& task_;
  Sequences sources_, targets_;
  std::vector<metrics::References> references_;
  std::string faults_;
};

Tensor SequenceData::rows(const Sequences& sequences, std::span<const int64_t> samples,
                          int64_t width, int64_t padding) {
  const auto row = [&](int64_t sample) -> const std::vector<int64_t>& {
    return sequences[static_cast<size_t>(sample)];
  };
  if (width == 0) {
    for (const int64_t sample : samples) width = std::max(width, std::ssize(row(sample)));
    width = batch_width(width);
  }
  std::vector<int64_t> ids(samples.size() * static_cast<size_t>(width), padding);
  for (size_t i = 0; i < samples.size(); ++i)
    std::ranges::copy(row(samples[i]), ids.begin() + static_cast<int64_t>(i) * width);
  return from_values(ids, {std::ssize(samples), width});
}

Batch SequenceData::batch(std::span<const int64_t> samples, int64_t width) const {
  std::vector<int64_t> lengths;
  for (const int64_t sample : samples)
    lengths.push_back(std::ssize(sources_[static_cast<size_t>(sample)]));
  Batch batch = {rows(sources_, samples, width, task_.info().pad_token),
                 from_values(lengths, {std::ssize(samples)})};
  const int64_t target_width = width == 0 ? 0 : task_.settings().target_length;
  if (!targets_.empty()) batch.push_back(rows(targets_, samples, target_width, kIgnoredTarget));
  return batch;
}

std::vector<TaskScore> SequenceData::score(const TaskOutputs& outputs) const {
  std::vector<std::string> texts;
  for (const std::vector<double>& output : outputs) texts.push_back(task_.decode(output));
  std::vector<std::string> targets;
  for (const metrics::References& reference : references_) targets.push_back(reference.front());
  const metrics::Rouge rouge = metrics::mean_rouge(texts, targets);
  return {{"bleu", metrics::corpus_bleu(texts, references_).score},
          {"chrf", metrics::corpus_chrf(texts, references_)},
          {"rouge1", rouge.one.f1},
          {"rouge2", rouge.two.f1},
          {"rougeL", rouge.l.f1}};
}

std::vector<std::string> SequenceData::predictions(const TaskOutputs& outputs) const {
  std::vector<std::string> lines;
  for (const std::vector<double>& output : outputs)
    lines.push_back(json_text(nlohmann::json{{"text", task_.decode(output)}}));
  return lines;
}

SequenceTask::SequenceTask(const TaskSettings& settings, std::unique_ptr<EncoderDecoder> model,
                           Tokenizer tokenizer)
    : settings_(settings), model_(std::move(model)), tokenizer_(std::move(tokenizer)) {
  const EncoderDecoderInfo& info = model_->info();
  check(tokenizer_.vocab_size() <= info.vocab_size, ErrorKind::Config, "tokenizer", "has ",
        tokenizer_.vocab_size(), " tokens, the model takes ", info.vocab_size);
  check(!info.eos_tokens.empty(), ErrorKind::Config, "model.directory",
        "has no eos_token_id in config.json, takes one that ends a text");
  check(settings.class_weights.empty(), ErrorKind::Config, "task.class_weights", "got ",
        settings.class_weights.size(), " numbers, takes none for seq2seq");
}

std::unique_ptr<TaskData> SequenceTask::read(const std::vector<fs::path>& files) const {
  auto data = std::make_unique<SequenceData>(*this);
  BadLines bad(settings_.max_bad_lines);
  const TableOptions options{.columns = {settings_.text_column, settings_.label_column},
                             .header = settings_.header};
  for (const fs::path& file : files) {
    read_table(file, options, bad, [&](int64_t line, const std::vector<std::string>& values) {
      if (values[1].empty()) return bad.skip(file, line, "has an empty " + settings_.label_column);
      data->add(values[0], values[1]);
    });
  }
  data->set_faults(bad.summary());
  return data;
}

std::unique_ptr<TaskData> SequenceTask::inputs(std::span<const TaskInput> inputs) const {
  auto data = std::make_unique<SequenceData>(*this);
  for (const TaskInput& input : inputs) {
    check(input.words.empty() && input.second.empty(), ErrorKind::Argument, "seq2seq",
          "takes one text, got words or a second one");
    data->add(input.text);
  }
  return data;
}

std::vector<int64_t> SequenceTask::encode(const std::string& text, int64_t length) const {
  const std::vector<int32_t> ids = tokenizer_.encode(text);
  const auto kept = std::min(std::ssize(ids), length - 1);
  std::vector<int64_t> encoded(ids.begin(), ids.begin() + kept);
  encoded.push_back(info().eos_tokens.front());
  return encoded;
}

// Tokens of the model that the tokenizer lacks are no text.
Tensor SequenceTask::outputs(const Batch& batch) {
  const Device device = model_->device();
  const std::vector<GeneratedSequence> found =
      generate_sequences(*model_, batch[0].to(device), batch[1].to(device),
                         {.max_tokens = settings_.target_length,
                          .beams = settings_.beams,
                          .sampling = settings_.sampling});
  const int64_t width = settings_.target_length;
  std::vector<int64_t> ids(found.size() * static_cast<size_t>(width), kNoToken);
  for (size_t row = 0; row < found.size(); ++row)
    std::ranges::copy(found[row].ids, ids.begin() + static_cast<int64_t>(row) * width);
  return from_values(ids, {std::ssize(found), width});
}

Tensor SequenceTask::loss(const Batch& batch, Tensor* outputs) {
  const Device device = model_->device();
  if (outputs) *outputs = this->outputs(batch);
  return model_->loss(batch[0].to(device), batch.at(2).to(device), batch[1].to(device));
}

std::map<std::string, std::string> SequenceTask::texts() const {
  std::map<std::string, std::string> files = tokenizer_.files();
  files["config.json"] = model_->config_json(model_->head_weight().dtype());
  return files;
}

void SequenceTask::save(const fs::path& directory) const {
  save_pretrained(*model_, directory);
  tokenizer_.save(directory);
}

std::unique_ptr<FinetuneTask> task_of(TaskSettings settings, const fs::path& directory,
                                      std::unique_ptr<EncoderDecoder> model) {
  settings.name = kSequenceTask;
  return std::make_unique<SequenceTask>(settings, std::move(model), Tokenizer::load(directory));
}

}  // namespace

bool is_sequence_model(const ConfigJson& config) {
  return config.text("model_type", "") == "t5";
}

std::unique_ptr<FinetuneTask> load_sequence_task(const TaskSettings& settings,
                                                 const fs::path& directory) {
  return task_of(settings, directory, load_encoder_decoder(directory));
}

std::unique_ptr<FinetuneTask> make_sequence_task(
    const TaskSettings& settings, const fs::path& directory, uint64_t seed,
    const std::function<void(const std::string&)>& tell) {
  const ConfigJson json = ConfigJson::read(directory / "config.json");
  check(is_sequence_model(json), ErrorKind::Config, "model.directory", directory.string(),
        " holds a ", json.text("model_type", ""), ", takes a t5");
  if (has_weights(directory)) return load_sequence_task(settings, directory);
  tell("the directory has no weights: all begin at random");
  std::unique_ptr<EncoderDecoder> model = make_encoder_decoder(json);
  model->reset_parameters(seed);
  return task_of(settings, directory, std::move(model));
}

}  // namespace plinth
