#pragma once

// A BERT with a head that is fine-tuned: for whole sequences, for each token, or for a span, as the
// answer to a question is one (Devlin et al. 2019, sections 4.1 to 4.3).

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/bert/bert.h"
#include "models/registry.h"

namespace plinth {

// transformers' BertForSequenceClassification, BertForTokenClassification and
// BertForQuestionAnswering.
enum class BertTask { Sequence, Token, Span };

struct BertClassifierConfig {
  BertConfig bert;  // its parts: the pooler, for sequences
  BertTask task = BertTask::Sequence;
  std::vector<std::string> labels = {"LABEL_0", "LABEL_1"};  // names; of a span 2: start and end
  double dropout = 0.1;                                      // of what the head is given

  // Throws what BertConfig::from_json() does, and Error(Format) for another class, regression, or
  // several labels of one sequence.
  static BertClassifierConfig from_json(const ConfigJson& json);
  std::string to_json(DType dtype) const;
};

class BertClassifier : public nn::ModuleOf<BertClassifier> {
 public:
  // Throws Error(Argument) for fewer than two labels, or another number of a span's.
  explicit BertClassifier(BertClassifierConfig config);

  // Logits [batch, labels] of sequences, [batch, time, labels] of tokens, [batch, time, 2] of the
  // start and end of a span. ids and inputs are Bert::encode()'s.
  Tensor forward(const Tensor& ids, const BertInputs& inputs = {});
  // Mean cross-entropy over the targets that are not -100: int64 [batch] of sequences,
  // [batch, time] of tokens, and [batch, 2] of spans, the first and last token of each, whose mean
  // is taken. `weights`, of the targets' shape and not for spans, are their shares of the loss in
  // place of equal ones. Throws Error(Shape) for another shape.
  Tensor loss(const Tensor& ids, const BertInputs& inputs, const Tensor& targets,
              const Tensor& weights = {});
  // The same of forward()'s logits.
  Tensor loss_of(const Tensor& logits, const Tensor& targets, const Tensor& weights = {}) const;

  const BertClassifierConfig& config() const { return config_; }
  std::string config_json(DType dtype) const { return config_.to_json(dtype); }
  Bert& bert() { return *bert_; }
  std::vector<WeightSlice> weight_slices() const;

 private:
  BertClassifierConfig config_;
  nn::Handle<Bert> bert_;
  nn::Handle<nn::Dropout> dropout_;
  nn::Handle<nn::Linear> head_;
};

// The task of the classifier that a config.json is of; nothing where it is another model's.
std::optional<BertTask> bert_task_of(const ConfigJson& json);

// A classifier that begins with the embeddings, blocks and, if it needs and has it, the pooler of
// `pretrained`; what else it has is drawn from the seed. Of `config`, task, labels and dropout
// count.
std::unique_ptr<BertClassifier> make_classifier(const Bert& pretrained, BertClassifierConfig config,
                                                uint64_t seed);
// load_pretrained() of a classifier's directory, and save_pretrained().
std::unique_ptr<BertClassifier> load_classifier(const std::filesystem::path& directory,
                                                DType dtype = DType::Float32);
void save_classifier(const BertClassifier& model, const std::filesystem::path& directory,
                     const SaveOptions& options = {});

}  // namespace plinth
