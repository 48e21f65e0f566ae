#include "train/finetune/bert_tasks.h"

#include <algorithm>

#include "core/error.h"
#include "core/ops/factories.h"
#include "data/loader/sample_source.h"
#include "train/finetune/block_number.h"

namespace plinth {
namespace {

const TaskSettings& checked(const TaskSettings& settings, BertClassifier& model) {
  const int64_t context = model.bert().config().context;
  check(settings.max_length <= context, ErrorKind::Config, "task.max_length", "got ",
        settings.max_length, ", takes at most the model's ", context);
  const auto labels = model.config().labels.size();
  const bool is_span = model.config().task == BertTask::Span;
  check(settings.class_weights.empty() || (!is_span && settings.class_weights.size() == labels),
        ErrorKind::Config, "task.class_weights", "got ", settings.class_weights.size(),
        " numbers, takes ", is_span ? "none for questions" : "one a label, or none");
  for (const double weight : settings.class_weights)
    check(weight > 0, ErrorKind::Config, "task.class_weights", "got ", weight, ", takes above 0");
  return settings;
}

}  // namespace

BertFinetuneTask::BertFinetuneTask(const TaskSettings& settings,
                                   std::unique_ptr<BertClassifier> model, Tokenizer tokenizer)
    : settings_(checked(settings, *model)),
      model_(std::move(model)),
      tokenizer_(std::make_unique<Tokenizer>(std::move(tokenizer))),
      encoder_(*tokenizer_, settings.max_length),
      labels_(model_->config().labels, "id2label") {
  check(tokenizer_->vocab_size() <= model_->bert().config().vocab_size, ErrorKind::Config,
        "tokenizer", "has ", tokenizer_->vocab_size(), " tokens, the model takes ",
        model_->bert().config().vocab_size);
}

std::string BertFinetuneTask::title() const {
  return detail::concat("bert, ", settings_.name, ", ", labels_.size(), " labels");
}

Tensor BertFinetuneTask::outputs(const Batch& batch) {
  return (*model_)(batch[0].to(device()), BertInputs{batch[1].to(device()), batch[2].to(device())});
}

Tensor BertFinetuneTask::loss(const Batch& batch, Tensor* outputs) {
  const Tensor logits = this->outputs(batch);
  if (outputs) *outputs = logits;
  const Tensor weights = batch.size() > 4 ? batch[4].to(device()) : Tensor();
  return model_->loss_of(logits, batch.at(3).to(device()), weights);
}

int64_t BertFinetuneTask::depths() const {
  return model_->bert().config().layers + 2;
}

int64_t BertFinetuneTask::depth_of(std::string_view parameter) const {
  if (!is_trunk(parameter)) return depths() - 1;
  const std::optional<int64_t> block = block_number(parameter, "bert.block");
  return block ? *block + 1 : 0;
}

// The pooler was trained for another end, or not at all: it counts as the head's.
bool BertFinetuneTask::is_trunk(std::string_view parameter) const {
  return parameter.starts_with("bert.") && !parameter.starts_with("bert.pooler.");
}

std::map<std::string, std::string> BertFinetuneTask::texts() const {
  std::map<std::string, std::string> texts = tokenizer_->files();
  texts["config.json"] = model_->config_json(model_->parameters()[0].dtype());
  return texts;
}

void BertFinetuneTask::save(const std::filesystem::path& directory) const {
  save_classifier(*model_, directory);
  tokenizer_->save(directory);
}

Batch BertTaskData::batch(std::span<const int64_t> samples, int64_t width) const {
  const auto rows = static_cast<int64_t>(samples.size());
  if (width == 0) {
    for (const int64_t i : samples) width = std::max(width, std::ssize(sample(i).ids));
    width = std::min(batch_width(width), task_.width());
  }
  std::vector<int64_t> ids(static_cast<size_t>(rows * width), task_.encoder().padding());
  std::vector<int64_t> segments(ids.size(), 0), lengths;
  for (int64_t row = 0; row < rows; ++row) {
    const BertSample& one = sample(samples[static_cast<size_t>(row)]);
    std::ranges::copy(one.ids, ids.begin() + row * width);
    std::fill(segments.begin() + row * width + one.second,
              segments.begin() + row * width + std::ssize(one.ids), 1);
    lengths.push_back(std::ssize(one.ids));
  }
  Batch batch = {from_values(ids, {rows, width}), from_values(segments, {rows, width}),
                 from_values(lengths, {rows})};
  if (!samples.empty() && !sample(samples[0]).targets.empty()) add_targets(samples, width, batch);
  return batch;
}

void BertTaskData::add_targets(std::span<const int64_t> samples, int64_t width,
                               Batch& batch) const {
  const auto rows = static_cast<int64_t>(samples.size());
  const auto& sizes = task_.settings().class_weights;
  const bool are_tokens = task_.kind() == BertTask::Token;
  const int64_t columns = are_tokens ? width : std::ssize(sample(samples[0]).targets);
  std::vector<int64_t> targets(static_cast<size_t>(rows * columns), kIgnoredTarget);
  for (int64_t row = 0; row < rows; ++row)
    std::ranges::copy(sample(samples[static_cast<size_t>(row)]).targets,
                      targets.begin() + row * columns);
  const Shape shape = task_.kind() == BertTask::Sequence ? Shape{rows} : Shape{rows, columns};
  batch.push_back(from_values(targets, shape));
  if (sizes.empty()) return;
  std::vector<float> weights;
  double all = 0;
  for (const int64_t target : targets) {
    weights.push_back(target < 0 ? 0 : static_cast<float>(sizes[static_cast<size_t>(target)]));
    all += weights.back();
  }
  for (float& weight : weights) weight /= static_cast<float>(all > 0 ? all : 1);
  batch.push_back(from_values(weights, shape));
}

}  // namespace plinth
