// T5's pretraining.

#include <optional>

#include "core/error.h"
#include "data/shards/token_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "models/encoder_decoder_registry.h"
#include "models/t5/t5.h"
#include "train/logging/format.h"
#include "train/pretrain/new_model.h"
#include "train/pretrain/objective_kinds.h"
#include "train/pretrain/run_options.h"
#include "train/pretrain/span_batches.h"

namespace plinth {
namespace {

using Tell = std::function<void(const std::string&)>;

// The tokenizer's sentinels, <extra_id_0> the largest.
SpanCorruptionOptions span_options(const PretrainConfig& config, const Tokenizer& tokenizer,
                                   std::optional<int64_t> end_token) {
  const auto sentinel = [&](int64_t number) {
    return tokenizer.id(detail::concat("<extra_id_", number, ">"));
  };
  const std::optional<int32_t> first = sentinel(0);
  int64_t count = first ? 1 : 0;
  while (count > 0 && sentinel(count) == static_cast<int32_t>(*first - count)) ++count;
  check(count >= 2, ErrorKind::Config, "data.tokenizer", config.data.tokenizer.string(), " has ",
        count, " sentinels, takes 2 or more, <extra_id_0> with the largest id (",
        "plinth tokenize --sentinels)");
  return {.density = config.spans.density,
          .mean_span = config.spans.mean_length,
          .first_sentinel = *first,
          .sentinels = count,
          .end_token = end_token,
          .seed = config.run.seed};
}

std::unique_ptr<EncoderDecoder> t5_of(const PretrainConfig& config, const Tokenizer& tokenizer,
                                      const Tell& tell) {
  auto model = first_model(
      config, tell,
      [](const std::filesystem::path& directory) { return load_encoder_decoder(directory); },
      [](const ConfigJson& json) { return make_encoder_decoder(json); });
  if (model) return model;
  model = std::make_unique<T5>(T5Config::from_size(new_size(config, &tokenizer)));
  model->reset_parameters(config.run.seed);
  return model;
}

class SpanObjective final : public Objective {
 public:
  SpanObjective(const PretrainConfig& config, const Tell& tell)
      : config_(config),
        tokenizer_(Tokenizer::load(config.data.tokenizer)),
        model_(t5_of(config, tokenizer_, tell)),
        options_(span_options(config, tokenizer_, first_token(model_->info().eos_tokens))),
        train_(std::make_shared<const TokenDataset>(TokenDataset::open(config.data.train))) {
    if (!config.data.validation.empty())
      held_out_ = std::make_shared<const TokenDataset>(TokenDataset::open(config.data.validation));
    check_vocabulary({*train_, held_out_.get(), &tokenizer_}, model_->info().vocab_size);
    const SpanCorruptor corruptor(options_);
    const int64_t least = corruptor.ids_length(2);
    check(config.model.context >= least, ErrorKind::Config, "model.context", "got ",
          config.model.context, ", takes ", least, " or more for t5");
    length_ = corruptor.tokens_within(config.model.context);
    check(corruptor.spans(length_) < options_.sentinels, ErrorKind::Config, "model.context", "got ",
          config.model.context, ", of whose texts each loses ", corruptor.spans(length_),
          " spans; takes fewer than the tokenizer's ", options_.sentinels, " sentinels");
    check(!held_out_ || held_out_->size() > length_, ErrorKind::Config, "data.validation", "has ",
          held_out_ ? held_out_->size() : 0, " tokens, takes more than a text of ", length_);
    tokens_ = corruptor.ids_length(length_) + corruptor.targets_length(length_);
  }

  nn::Module& model() override { return *model_; }
  std::string type() const override { return "t5"; }
  std::string data_text() const override {
    return detail::concat(format_count(static_cast<double>(train_->size())),
                          " training tokens, texts of ", length_);
  }
  int64_t tokens_per_sample() const override { return tokens_; }

  std::unique_ptr<BatchSource> batches(Split split, const LoaderOptions& options) const override {
    const bool trains = split == Split::Training;
    LoaderOptions own = options;
    own.samples.length = length_;
    SpanCorruptionOptions spans = options_;
    spans.stream = trains ? 0 : 1;
    return std::make_unique<SpanBatches>(trains ? train_ : held_out_, own, SpanCorruptor(spans));
  }
  int64_t held_out_samples() const override {
    return held_out_ ? (held_out_->size() - 1) / length_ : 0;
  }

  Tensor loss(const Batch& batch) override {
    const Device device = model_->device();
    return model_->loss(batch[0].to(device), batch[1].to(device));
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
  std::unique_ptr<EncoderDecoder> model_;
  SpanCorruptionOptions options_;
  std::shared_ptr<const TokenDataset> train_, held_out_;
  int64_t length_ = 0;  // tokens of a text
  int64_t tokens_ = 0;  // of a sample's ids and targets
};

}  // namespace

std::unique_ptr<Objective> make_span_objective(const PretrainConfig& config, const Tell& tell) {
  check(!config.data.tokenizer.empty(), ErrorKind::Config, "data.tokenizer",
        "is missing; t5 takes one with sentinels (plinth tokenize --sentinels)");
  return std::make_unique<SpanObjective>(config, tell);
}

}  // namespace plinth
