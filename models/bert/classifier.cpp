#include "models/bert/classifier.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "models/bert/config_fields.h"
#include "models/labels.h"

namespace plinth {

namespace {

constexpr std::string_view kBertClassifier = "BertClassifier";
// By task.
constexpr std::array<std::string_view, 3> kClassifierArchitectures = {
    "BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering"};

BertClassifierConfig checked(BertClassifierConfig config) {
  const auto labels = std::ssize(config.labels);
  const bool is_span = config.task == BertTask::Span;
  check(is_span ? labels == 2 : labels >= 2, ErrorKind::Argument, kBertClassifier, "got ", labels,
        " labels, takes ", is_span ? "the 2 ends of a span" : "2 or more");
  config.bert.parts = {.masked_lm = false, .pooler = config.task == BertTask::Sequence};
  return config;
}

}  // namespace

BertClassifierConfig BertClassifierConfig::from_json(const ConfigJson& json) {
  check(json.has("architectures"), ErrorKind::Format, json.subject(),
        "architectures is missing, takes the class of a classifier");
  const std::string architecture = json.first_word("architectures", "", kClassifierArchitectures);
  BertClassifierConfig config;
  config.bert = read_bert_sizes(json);
  config.task = static_cast<BertTask>(std::ranges::find(kClassifierArchitectures, architecture) -
                                      kClassifierArchitectures.begin());
  config.labels = read_labels(json);
  config.dropout = json.number("classifier_dropout", config.bert.hidden_dropout);
  check(config.task != BertTask::Span || config.labels.size() == 2, ErrorKind::Format,
        json.subject(), "id2label has ", config.labels.size(), " labels, takes 2 for a span");
  return config;
}

std::string BertClassifierConfig::to_json(DType dtype) const {
  nlohmann::ordered_json json =
      write_bert_sizes(bert, std::string(kClassifierArchitectures[static_cast<size_t>(task)]));
  json["classifier_dropout"] = dropout;
  write_labels(labels, json);
  return finished_config(std::move(json), bert.bos_token, bert.eos_tokens, dtype);
}

BertClassifier::BertClassifier(BertClassifierConfig config) : config_(checked(std::move(config))) {
  bert_ = make<Bert>("bert", config_.bert);
  // transformers drops nothing before the head for spans.
  dropout_ = make<nn::Dropout>("dropout", config_.task == BertTask::Span ? 0 : config_.dropout);
  const nn::LinearOptions options{
      .weight_init = nn::init::normal(0, config_.bert.initializer_range),
      .bias_init = nn::init::zeros()};
  head_ = make<nn::Linear>("head", config_.bert.dim, std::ssize(config_.labels), options);
}

Tensor BertClassifier::forward(const Tensor& ids, const BertInputs& inputs) {
  const Tensor x = bert_->encode(ids, inputs);
  return head_(dropout_(config_.task == BertTask::Sequence ? bert_->pool(x) : x));
}

Tensor BertClassifier::loss(const Tensor& ids, const BertInputs& inputs, const Tensor& targets,
                            const Tensor& weights) {
  return loss_of((*this)(ids, inputs), targets, weights);
}

Tensor BertClassifier::loss_of(const Tensor& logits, const Tensor& targets,
                               const Tensor& weights) const {
  const bool is_span = config_.task == BertTask::Span;
  Shape expected = {logits.size(0)};
  if (is_span) expected = {logits.size(0), 2};
  if (config_.task == BertTask::Token) expected = {logits.size(0), logits.size(1)};
  check(targets.shape() == expected, ErrorKind::Shape, kBertClassifier, "targets have shape ",
        targets.shape(), ", expected ", expected);
  check(!weights.defined() || (!is_span && weights.shape() == expected), ErrorKind::Shape,
        kBertClassifier, "weights have shape ", weights.defined() ? weights.shape() : Shape{},
        is_span ? ", takes none for spans" : ", expected that of the targets");
  if (weights.defined())
    return sum(cross_entropy(logits, targets, {.reduction = Reduction::None}) * weights);
  if (!is_span) return cross_entropy(logits, targets);
  // Each end is one of the tokens.
  const Tensor first = cross_entropy(logits.select(2, 0), targets.select(1, 0));
  return (first + cross_entropy(logits.select(2, 1), targets.select(1, 1))) * 0.5;
}

std::vector<WeightSlice> BertClassifier::weight_slices() const {
  std::vector<WeightSlice> slices = bert_->encoder_slices("bert.", "bert.");
  const std::string head = config_.task == BertTask::Span ? "qa_outputs" : "classifier";
  for (const char* kind : {".weight", ".bias"})
    slices.push_back({head + kind, std::string("head") + kind});
  return slices;
}

std::optional<BertTask> bert_task_of(const ConfigJson& json) {
  if (json.text("model_type", "") != "bert" || !json.has("architectures")) return std::nullopt;
  const std::string architecture = json.first_text("architectures", "");
  const auto found = std::ranges::find(kClassifierArchitectures, architecture);
  if (found == kClassifierArchitectures.end()) return std::nullopt;
  return static_cast<BertTask>(found - kClassifierArchitectures.begin());
}

std::unique_ptr<BertClassifier> make_classifier(const Bert& pretrained, BertClassifierConfig config,
                                                uint64_t seed) {
  config.bert = pretrained.config();
  auto model = std::make_unique<BertClassifier>(std::move(config));
  model->reset_parameters(seed);
  model->to(pretrained.head_weight().dtype());
  model->to(pretrained.head_weight().device());
  model->bert().load_state_dict(pretrained.state_dict(), /*strict=*/false);
  return model;
}

std::unique_ptr<BertClassifier> load_classifier(const std::filesystem::path& directory,
                                                DType dtype) {
  const nn::SkipInit skip;
  auto model = std::make_unique<BertClassifier>(
      BertClassifierConfig::from_json(ConfigJson::read(directory / "config.json")));
  if (dtype != DType::Float32) model->to(dtype);
  read_weights(*model, model->weight_slices(), SafetensorsCheckpoint::open(directory), directory);
  return model;
}

void save_classifier(const BertClassifier& model, const std::filesystem::path& directory,
                     const SaveOptions& options) {
  const DType dtype = options.dtype.value_or(model.parameters()[0].dtype());
  save_pretrained(model, model.weight_slices(), model.config_json(dtype), directory, options);
}

}  // namespace plinth
