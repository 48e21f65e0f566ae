// Training steps of a model of any family, made from its config.json.

#include <filesystem>

#include "apps/bench/bench_case.h"
#include "apps/bench/stopwatch.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "core/stream.h"
#include "models/clip/clip.h"
#include "models/encoder_decoder_registry.h"
#include "models/registry.h"
#include "models/vision/image_model.h"
#include "models/vit/vit.h"
#include "models/whisper/config.h"
#include "nn/optim/adamw.h"

namespace plinth::apps {

namespace {

// A model, new random inputs of the kind that it takes, and its loss of them.
struct TrainedModel {
  std::unique_ptr<nn::Module> module;
  std::function<Tensors()> draw;
  std::function<Tensor(const Tensors&)> loss;
};

Tensor random_ids(const Shape& shape, int64_t most) {
  Tensor ids = Tensor::empty(shape, {DType::Int64, {}});
  const std::vector<double> numbers = to_vector(rand(shape));
  for (size_t i = 0; i < numbers.size(); ++i)
    ids.data<int64_t>()[i] =
        std::min(static_cast<int64_t>(numbers[i] * static_cast<double>(most)), most - 1);
  return ids;
}

// Of a model that fills in what is masked: about one token in seven, as BERT's pretraining has it.
Tensor masked_targets(const Shape& shape, int64_t vocab_size) {
  Tensor targets = random_ids(shape, vocab_size);
  const std::vector<double> chances = to_vector(rand(shape));
  for (size_t i = 0; i < chances.size(); ++i) {
    if (chances[i] >= 0.15) targets.data<int64_t>()[i] = -100;
  }
  return targets;
}

template <class Model>
TrainedModel trained(std::unique_ptr<Model> model, std::function<Tensors(const Model&)> draw) {
  Model* const raw = model.get();
  return {std::move(model), [raw, draw] { return draw(*raw); },
          [raw](const Tensors& inputs) { return raw->loss(inputs[0], inputs[1]); }};
}

TrainedModel language_model(const ConfigJson& config, int64_t batch, int64_t time) {
  return trained<LanguageModel>(make_model(config), [=](const LanguageModel& model) -> Tensors {
    const int64_t vocab_size = model.info().vocab_size;
    if (!model.info().causal)
      return {random_ids({batch, time}, vocab_size), masked_targets({batch, time}, vocab_size)};
    const Tensor ids = random_ids({batch, time + 1}, vocab_size);
    return {ids.narrow(1, 0, time).contiguous(), ids.narrow(1, 1, time).contiguous()};
  });
}

TrainedModel encoder_decoder(const ConfigJson& config, int64_t batch, int64_t time) {
  const bool hears = config.text("model_type", "") == "whisper";
  const WhisperConfig sound = hears ? WhisperConfig::from_json(config) : WhisperConfig();
  return trained<EncoderDecoder>(
      make_encoder_decoder(config), [=](const EncoderDecoder& model) -> Tensors {
        const int64_t vocab_size = model.info().vocab_size;
        return {hears ? randn({batch, sound.mel_bins, 2 * sound.source_positions})
                      : random_ids({batch, time}, vocab_size),
                random_ids({batch, time}, vocab_size)};
      });
}

Tensor random_pixels(int64_t batch, int64_t channels, int64_t side) {
  return randn({batch, channels, side, side});
}

TrainedModel image_model(const ConfigJson& config, int64_t batch, int64_t time) {
  std::unique_ptr<ImageModel> model = make_image_model(config);
  if (dynamic_cast<ViT*>(model.get()) != nullptr)
    return trained<ViT>(std::unique_ptr<ViT>(dynamic_cast<ViT*>(model.release())),
                        [=](const ViT& vit) -> Tensors {
                          const ViTConfig& sizes = vit.config();
                          return {random_pixels(batch, sizes.channels, sizes.image_size),
                                  random_ids({batch}, std::ssize(sizes.labels))};
                        });
  check(dynamic_cast<Clip*>(model.get()) != nullptr, ErrorKind::Argument, "bench model",
        "got a model of type ", model->type(), ", takes vit and clip of those of images");
  return trained<Clip>(
      std::unique_ptr<Clip>(dynamic_cast<Clip*>(model.release())),
      [=](const Clip& clip) -> Tensors {
        const ClipConfig& sizes = clip.config();
        Tensor ids = random_ids({batch, time}, sizes.text.vocab_size);
        for (int64_t row = 1; row <= batch; ++row)
          ids.data<int64_t>()[row * time - 1] = sizes.text.eos_token;
        return {random_pixels(batch, sizes.vision.channels, sizes.vision.image_size), ids};
      });
}

TrainedModel make_trained(const ModelBench& bench) {
  const std::filesystem::path given = bench.config;
  const ConfigJson config =
      ConfigJson::read(std::filesystem::is_directory(given) ? given / "config.json" : given);
  if (is_encoder_decoder(config)) return encoder_decoder(config, bench.batch, bench.time);
  if (is_image_model(config)) return image_model(config, bench.batch, bench.time);
  return language_model(config, bench.batch, bench.time);
}

class ModelCase : public BenchCase {
 public:
  explicit ModelCase(const ModelBench& bench)
      : device_(bench.device),
        model_(make_trained(bench)),
        optimizer_(placed_groups(), {.lr = 3e-4, .beta1 = 0.9, .beta2 = 0.95}) {}

  void prepare() override {
    inputs_ = model_.draw();
    for (Tensor& input : inputs_) input = input.to(device_);
  }
  BenchTimes run() override {
    const Stopwatch time;
    optimizer_.zero_grad();
    model_.loss(inputs_).backward();
    optimizer_.step();
    synchronize(device_);
    return {{"step_ms", time.milliseconds()}};
  }

 private:
  std::vector<nn::ParameterGroup> placed_groups() {
    model_.module->reset_parameters(0);
    model_.module->to(device_);
    return nn::decay_matrices(*model_.module, 0.1);
  }

  Device device_;
  TrainedModel model_;
  nn::AdamW optimizer_;
  Tensors inputs_;
};

}  // namespace

std::unique_ptr<BenchCase> make_model_case(const ModelBench& bench) {
  return std::make_unique<ModelCase>(bench);
}

}  // namespace plinth::apps
