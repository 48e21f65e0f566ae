// An architecture that Plinth does not have, trained by Plinth's own trainer: the neural n-gram
// model of Bengio et al. 2003 ("A neural probabilistic language model"), on the bytes of a file.
//
//   neural_ngram TEXT STEPS [RUN_DIRECTORY]
//
// With a run directory it writes checkpoints, metrics and a report there, goes on from its latest
// checkpoint when started again, and on Ctrl-C stops after writing one.

#include <plinth.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

using namespace plinth;

constexpr int64_t kContext = 8;

// The next byte's logits from the kContext bytes before it: embeddings side by side, then an MLP.
class NeuralNgram : public nn::Module {
 public:
  NeuralNgram()
      : embedding_(make<nn::Embedding>("embedding", 256, 24)),
        hidden_(make<nn::Linear>("hidden", 24 * kContext, 256)),
        output_(make<nn::Linear>("output", 256, 256)) {}

  // bytes int64 [count, kContext] to [count, 256].
  Tensor forward(const Tensor& bytes) {
    return output_(tanh(hidden_(embedding_(bytes).flatten(1))));
  }

 private:
  nn::Handle<nn::Embedding> embedding_;
  nn::Handle<nn::Linear> hidden_, output_;
};

// Sample i is the text at a random place that depends on i alone.
class RandomPlaces : public BatchSource {
 public:
  explicit RandomPlaces(std::string text) : text_(std::move(text)) {
    check(text_.size() > kContext, ErrorKind::Argument, "text", "is shorter than ", kContext + 1,
          " bytes");
  }
  Batch next(int64_t count) override {
    std::vector<int64_t> bytes, targets;
    for (const int64_t end = next_ + count; next_ < end; ++next_) {
      const uint32_t draw = kernels::philox({.seed = 1, .sample = next_}, 0, 0)[0];
      const size_t place = draw % (text_.size() - kContext);
      for (int64_t i = 0; i < kContext; ++i)
        bytes.push_back(static_cast<unsigned char>(text_[place + i]));
      targets.push_back(static_cast<unsigned char>(text_[place + kContext]));
    }
    return {from_values(bytes, {count, kContext}), from_values(targets, {count})};
  }
  std::string state() const override { return std::to_string(next_); }
  void restore(std::string_view state) override { next_ = std::atoll(std::string(state).c_str()); }

 private:
  std::string text_;
  int64_t next_ = 0;
};

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: neural_ngram TEXT STEPS [RUN_DIRECTORY]\n");
    return 2;
  }
  try {
    RandomPlaces data(read_text_file(argv[1]));
    NeuralNgram model;
    model.reset_parameters(1);
    nn::AdamW optimizer(nn::decay_matrices(model, 0.01));
    TrainerOptions options;
    options.steps = std::atoll(argv[2]);
    options.batch = 256;
    options.clip_norm = 1;
    options.directory = argc > 3 ? argv[3] : "";
    options.resume = true;
    options.checkpoint_every = 200;
    options.log.unit = "bytes/s";
    const nn::Schedule schedule{
        .kind = nn::ScheduleKind::Cosine, .peak = 3e-3, .steps = options.steps};
    const auto loss = [&](const Batch& batch) {
      return cross_entropy(model.forward(batch[0]), batch[1]);
    };
    Trainer trainer(model, loss, optimizer, schedule, data, options);
    const TrainResult result = trainer.run();
    if (result.signal != 0) return 128 + result.signal;
    if (std::isnan(result.loss)) {
      std::printf("all %lld steps were done before\n", static_cast<long long>(result.steps));
    } else {
      std::printf("%.3f bits per byte\n", result.loss / std::log(2.0));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "neural_ngram: %s\n", error.what());
    return 1;
  }
  return 0;
}
