// BERT's pretraining by masked tokens and next sentences.

#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "data/shards/token_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "models/bert/bert.h"
#include "models/registry.h"
#include "train/logging/format.h"
#include "train/pretrain/masked_batches.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/objective_kinds.h"
#include "train/pretrain/run_options.h"
#include "train/pretrain/sentence_batches.h"

namespace plinth {
namespace {

using Tell = std::function<void(const std::string&)>;

constexpr BertParts kAllParts{.masked_lm = true, .pooler = true, .next_sentence = true};

std::unique_ptr<Bert> new_bert(BertConfig config, uint64_t seed) {
  config.parts = kAllParts;
  auto model = std::make_unique<Bert>(config);
  model->reset_parameters(seed);
  return model;
}

// Parts that the first model lacks begin at random.
std::unique_ptr<Bert> bert_of(const PretrainConfig& config, const Tokenizer* tokenizer,
                              const Tell& tell) {
  const uint64_t seed = config.run.seed;
  const std::unique_ptr<LanguageModel> first = first_model(
      config, tell,
      [](const std::filesystem::path& directory) { return load_pretrained(directory); },
      [](const ConfigJson& json) { return make_model(json); });
  if (!first) return new_bert(BertConfig::from_size(new_size(config, tokenizer)), seed);
  const auto& bert = dynamic_cast<const Bert&>(*first);
  std::unique_ptr<Bert> model = new_bert(bert.config(), seed);
  model->load_state_dict(bert.state_dict(), /*strict=*/false);
  return model;
}

class SentenceObjective final : public Objective {
 public:
  SentenceObjective(const PretrainConfig& config, const Tell& tell)
      : config_(config),
        tokenizer_(Tokenizer::load(config.data.tokenizer)),
        model_(bert_of(config, &tokenizer_, tell)),
        masking_(masking_options(config, &tokenizer_, model_->info().vocab_size)),
        train_(std::make_shared<const TokenDataset>(TokenDataset::open(config.data.train))) {
    if (!config.data.validation.empty())
      held_out_ = std::make_shared<const TokenDataset>(TokenDataset::open(config.data.validation));
    check_vocabulary({*train_, held_out_.get(), &tokenizer_}, model_->info().vocab_size);
    check(masking_.first && masking_.last, ErrorKind::Config, "data.tokenizer",
          config.data.tokenizer.string(),
          " has no [CLS] and [SEP], takes both for masking.next_sentence");
    const int64_t context = model_->info().context;
    check(!held_out_ || held_out_->size() > context, ErrorKind::Config, "data.validation", "has ",
          held_out_ ? held_out_->size() : 0, " tokens, takes more than model.context (", context,
          ")");
  }

  nn::Module& model() override { return *model_; }
  std::string type() const override { return "bert"; }
  std::string data_text() const override {
    return detail::concat(format_count(static_cast<double>(train_->size())),
                          " training tokens, masked tokens and next sentences");
  }
  int64_t tokens_per_sample() const override { return model_->info().context; }
  double flops_per_sample() const override {
    const int64_t context = model_->info().context;
    return model_->training_flops_per_token(context) * static_cast<double>(context);
  }

  std::unique_ptr<BatchSource> batches(Split split, const LoaderOptions& options) const override {
    const bool trains = split == Split::Training;
    MaskingOptions masking = masking_;
    masking.stream = trains ? 0 : 1;
    return std::make_unique<SentenceBatches>(trains ? train_ : held_out_, options, masking,
                                             model_->info().context);
  }
  int64_t held_out_samples() const override {
    return held_out_ ? (held_out_->size() - 1) / model_->info().context : 0;
  }

  Tensor loss(const Batch& batch) override {
    const Device device = model_->device();
    return model_->pretraining_loss(batch[0].to(device), {.segments = batch.at(1).to(device)},
                                    batch.at(2).to(device), batch.at(3).to(device));
  }
  std::map<std::string, double> scores(const Batch& batch) override {
    const Device device = model_->device();
    const Tensor x = model_->encode(batch[0].to(device), {.segments = batch.at(1).to(device)});
    const Tensor told = argmax(model_->next_sentence(model_->pool(x)), 1);
    const Tensor is_right = eq(told, batch.at(3).to(device)).to(DType::Float32);
    return {{"next_sentence_accuracy", mean(is_right).item()}};
  }
  void set_activation_checkpointing(bool on) override { model_->set_activation_checkpointing(on); }
  std::vector<WeightSlice> weight_slices() const override { return model_->weight_slices(); }
  std::map<std::string, std::string> texts() const override {
    std::map<std::string, std::string> texts = tokenizer_texts(config_, tokenizer_);
    texts["config.json"] = model_->config_json(model_->head_weight().dtype());
    return texts;
  }

 private:
  PretrainConfig config_;
  Tokenizer tokenizer_;
  std::unique_ptr<Bert> model_;
  MaskingOptions masking_;
  std::shared_ptr<const TokenDataset> train_, held_out_;
};

}  // namespace

std::unique_ptr<Objective> make_sentence_objective(const PretrainConfig& config, const Tell& tell) {
  check(!config.data.tokenizer.empty(), ErrorKind::Config, "data.tokenizer",
        "is missing; masking.next_sentence takes one with [CLS] and [SEP]");
  return std::make_unique<SentenceObjective>(config, tell);
}

}  // namespace plinth
