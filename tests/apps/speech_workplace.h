#pragma once

// A folder with sounds, their manifest, and a Whisper's encoder, for the tests of the program.

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "data/images/sample_random.h"
#include "tests/apps/plinth_program.h"
#include "train/finetune/task_file.h"
#include "train/finetune/tasks.h"

namespace plinth {

// 16-bit samples of one channel at 8 kHz, as a WAV file.
inline std::string wav_of(const std::vector<double>& samples) {
  std::string file = "RIFF";
  const auto number = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file += static_cast<char>(value >> (8 * i));
  };
  const auto bytes = static_cast<uint32_t>(2 * samples.size());
  number(36 + bytes, 4);
  file += "WAVEfmt ";
  for (const auto& [value, size] :
       {std::pair<uint32_t, int>{16, 4}, {1, 2}, {1, 2}, {8000, 4}, {16000, 4}, {2, 2}, {16, 2}})
    number(value, size);
  file += "data";
  number(bytes, 4);
  for (const double sample : samples) number(static_cast<uint32_t>(std::lround(sample * 32767)), 2);
  return file;
}

// Words are tones, and sounds have one or two; a Whisper's encoder without weights.
class SpeechWorkplace : public TemporaryDirectory {
 public:
  SpeechWorkplace() {
    std::string manifest;
    int number = 0;
    for (const char* text : {"low", "high", "low high", "high low", "low low", "high high"}) {
      for (const double pitch : {1.0, 1.1}) {
        const std::string file = std::to_string(number++) + ".wav";
        write_file_atomically(path() / file, wav_of(sound_of(text, pitch)));
        manifest += nlohmann::json{{"audio", file}, {"text", text}}.dump() + "\n";
      }
    }
    write_file_atomically(path() / "sounds.jsonl", manifest);
    std::filesystem::create_directory(path() / "whisper");
    write_file_atomically(path() / "whisper" / "config.json", kModel);
    write_file_atomically(path() / "whisper" / "preprocessor_config.json", kFeatures);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }
  Outcome finetune(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"finetune", "run.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  std::string weights(const std::string& run) const {
    return read_text_file(path() / run / "model" / "model.safetensors");
  }
  void add_line(const std::string& file, const std::string& text) const {
    write_file_atomically(path() / "sounds.jsonl",
                          read_text_file(path() / "sounds.jsonl") +
                              nlohmann::json{{"audio", file}, {"text", text}}.dump() + "\n");
  }

 private:
  static std::vector<double> sound_of(const std::string& text, double pitch) {
    std::vector<double> samples;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const double hertz = (word == "low" ? 400 : 1600) * pitch;
      for (int i = 0; i < 1600; ++i)
        samples.push_back(i < 400 ? 0 : 0.5 * std::sin(2 * M_PI * hertz * i / 8000));
    }
    return samples;
  }

  static constexpr const char* kModel = R"({"model_type": "whisper", "num_mel_bins": 8,
      "max_source_positions": 15, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2,
      "encoder_ffn_dim": 24, "init_std": 0.1})";
  static constexpr const char* kFeatures = R"({"feature_size": 8, "sampling_rate": 8000,
      "n_fft": 200, "hop_length": 160, "chunk_length": 0.6})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "whisper"
[task]
name = "speech-recognition"
[speech]
units = "words"
[data]
train = ["sounds.jsonl"]
validation = ["sounds.jsonl"]
[train]
steps = 150
batch = 12
[optimizer]
lr = 0.01
[validation]
every = 50
metric = "wer"
)";
};

// As a CUDA graph needs it: with the task's width all batches are of the same shapes, and what
// fills them up does not count.
inline void expect_one_width(const std::filesystem::path& model,
                             const std::filesystem::path& sounds) {
  const std::unique_ptr<FinetuneTask> task = load_task(read_task_file(model), model);
  task->model().eval();
  const std::unique_ptr<TaskData> data = task->read({sounds});
  const NoGradGuard no_grad;
  const auto shapes_of = [](const Batch& batch) {
    std::string shapes;
    for (const Tensor& tensor : batch) shapes += detail::concat(tensor.shape(), " ");
    return shapes;
  };
  std::set<std::string> filled, needed;
  for (int64_t i = 0; i < data->size(); ++i) {
    const SampleKey key{.sample = i};
    const Batch whole = data->training_batch({&key, 1}, task->width());
    const Batch least = data->training_batch({&key, 1}, 0);
    filled.insert(shapes_of(whole));
    needed.insert(shapes_of(least));
    EXPECT_NEAR(task->loss(whole, nullptr).item(), task->loss(least, nullptr).item(), 1e-5) << i;
  }
  EXPECT_EQ(filled.size(), 1U);
  EXPECT_GT(needed.size(), 1U);
}

}  // namespace plinth
