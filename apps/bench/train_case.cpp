#include "apps/bench/bench_case.h"
#include "apps/bench/stopwatch.h"
#include "core/random.h"
#include "core/stream.h"
#include "models/registry.h"
#include "nn/optim/adamw.h"
#include "train/trainer.h"

namespace plinth::apps {

namespace {

// Random ids, drawn when draw() is called, not when the trainer asks for them.
class RandomTokens : public BatchSource {
 public:
  RandomTokens(int64_t vocab_size, int64_t time, int64_t batch)
      : vocab_size_(vocab_size), ids_(Tensor::empty({batch, time + 1}, {DType::Int64, {}})) {}

  void draw() {
    const auto stream = kernels::philox_stream({.seed = 0, .step = ++draws_});
    int64_t* out = ids_.data<int64_t>();
    for (int64_t i = 0; i < ids_.numel(); ++i)
      out[i] = static_cast<int64_t>(kernels::philox(stream, 0, i)[0] %
                                    static_cast<uint64_t>(vocab_size_));
    next_ = 0;
  }

  Batch next(int64_t count) override {
    const Tensor rows = ids_.narrow(0, next_, count);
    next_ += count;
    const int64_t time = ids_.size(1) - 1;
    return {rows.narrow(1, 0, time).contiguous(), rows.narrow(1, 1, time).contiguous()};
  }
  std::string state() const override { return ""; }
  void restore(std::string_view) override {}

 private:
  int64_t vocab_size_;
  Tensor ids_;
  uint64_t draws_ = 0;
  int64_t next_ = 0;
};

class TrainCase : public BenchCase {
 public:
  explicit TrainCase(const TrainBench& bench)
      : bench_(bench),
        model_(placed_model(bench)),
        data_(bench.size.vocab_size, bench.size.context, bench.batch),
        optimizer_(nn::decay_matrices(*model_, 0.1), {.lr = 3e-4, .beta1 = 0.9, .beta2 = 0.95}),
        trainer_(
            *model_,
            [this](const Batch& batch) {
              return model_->loss(batch[0].to(bench_.device), batch[1].to(bench_.device));
            },
            optimizer_, nn::Schedule{.peak = 3e-4}, data_, options_of(bench)) {
    model_->set_activation_checkpointing(bench.activation_checkpointing);
  }

  void prepare() override { data_.draw(); }
  BenchTimes run() override {
    const Stopwatch time;
    trainer_.step();
    synchronize(bench_.device);
    return {{"step_ms", time.milliseconds()}};
  }
  int64_t tokens() const override { return bench_.batch * bench_.size.context; }
  double flops() const override {
    return static_cast<double>(tokens()) * model_->training_flops_per_token(bench_.size.context);
  }

 private:
  static std::unique_ptr<LanguageModel> placed_model(const TrainBench& bench) {
    std::unique_ptr<LanguageModel> model = make_model(bench.size, 0);
    model->to(bench.device);
    return model;
  }
  static TrainerOptions options_of(const TrainBench& bench) {
    TrainerOptions options;
    options.steps = INT64_MAX;
    options.batch = bench.batch;
    options.micro_batch = bench.micro_batch;
    options.clip_norm = 1;
    options.precision = bench.precision;
    options.log.quiet = true;
    return options;
  }

  TrainBench bench_;
  std::unique_ptr<LanguageModel> model_;
  RandomTokens data_;
  nn::AdamW optimizer_;
  Trainer trainer_;
};

}  // namespace

std::unique_ptr<BenchCase> make_train_case(const TrainBench& bench) {
  return std::make_unique<TrainCase>(bench);
}

}  // namespace plinth::apps
