#pragma once

// Tasks of BERT's classifiers: of texts and pairs, of words, and of questions (Devlin et al. 2019,
// sections 4.1 to 4.3).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tasks/bert_encoder.h"
#include "data/tasks/labels.h"
#include "data/tokenizer/tokenizer.h"
#include "models/bert/classifier.h"
#include "train/finetune/tasks.h"

namespace plinth {

// What the three share. Batches are {ids, segments, lengths} and, with targets, {targets} and, with
// class weights, {weights}: BertClassifier::loss()'s.
class BertFinetuneTask : public FinetuneTask {
 public:
  // Throws Error(Config) for a max_length beyond the model's, or class weights that do not fit the
  // labels, Error(Format) for a tokenizer that is not BERT's.
  BertFinetuneTask(const TaskSettings& settings, std::unique_ptr<BertClassifier> model,
                   Tokenizer tokenizer);

  nn::Module& model() override { return *model_; }
  std::string title() const override;
  int64_t width() const override { return encoder_.length(); }
  Tensor outputs(const Batch& batch) override;
  Tensor loss(const Batch& batch, Tensor* outputs) override;
  int64_t depths() const override;
  int64_t depth_of(std::string_view parameter) const override;
  bool is_trunk(std::string_view parameter) const override;
  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override;
  void save(const std::filesystem::path& directory) const override;

  BertTask kind() const { return model_->config().task; }
  const TaskSettings& settings() const { return settings_; }
  const BertEncoder& encoder() const { return encoder_; }
  const Labels& labels() const { return labels_; }

 private:
  Device device() const { return model_->parameters()[0].device(); }

  TaskSettings settings_;
  std::unique_ptr<BertClassifier> model_;
  std::unique_ptr<Tokenizer> tokenizer_;  // at one place, for the encoder
  BertEncoder encoder_;
  Labels labels_;
};

// A sample: its tokens, and what they are to give.
struct BertSample {
  std::vector<int32_t> ids;
  int64_t second = 0;                 // tokens from here on are of segment 1
  std::vector<int64_t> targets = {};  // a label, a label a token, or a span's ends; none: unknown
};

class BertTaskData : public TaskData {
 public:
  explicit BertTaskData(const BertFinetuneTask& task) : task_(task) {}

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  Batch batch(std::span<const int64_t> samples, int64_t width) const override;
  std::string faults() const override { return faults_; }

 protected:
  const BertFinetuneTask& task() const { return task_; }
  void add(BertSample sample) { samples_.push_back(std::move(sample)); }
  const BertSample& sample(int64_t i) const { return samples_.at(static_cast<size_t>(i)); }
  void set_faults(std::string faults) { faults_ = std::move(faults); }

 private:
  void add_targets(std::span<const int64_t> samples, int64_t width, Batch& batch) const;

  const BertFinetuneTask& task_;
  std::vector<BertSample> samples_;
  std::string faults_;
};

// One a task: made of a model whose head fits it; and the labels that its files have.
std::unique_ptr<FinetuneTask> make_bert_text_task(const TaskSettings& settings,
                                                  std::unique_ptr<BertClassifier> model,
                                                  Tokenizer tokenizer);
Labels text_labels(const TaskSettings& settings, const std::vector<std::filesystem::path>& files);
std::unique_ptr<FinetuneTask> make_bert_token_task(const TaskSettings& settings,
                                                   std::unique_ptr<BertClassifier> model,
                                                   Tokenizer tokenizer);
Labels tag_labels(const TaskSettings& settings, const std::vector<std::filesystem::path>& files);
std::unique_ptr<FinetuneTask> make_bert_span_task(const TaskSettings& settings,
                                                  std::unique_ptr<BertClassifier> model,
                                                  Tokenizer tokenizer);

}  // namespace plinth
