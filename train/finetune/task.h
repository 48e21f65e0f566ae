#pragma once

// A task that a model is fine-tuned for: what is read from files, what the model makes of it, and
// how good that is. What trains, evaluates and predicts knows of no task more than this; a new one
// is a file that implements it, and a line in tasks.cpp.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/sample_random.h"
#include "models/weight_map.h"
#include "nn/module.h"
#include "train/batch_source.h"

namespace plinth {

// What a model gave for each sample, flat.
using TaskOutputs = std::vector<std::vector<double>>;

struct TaskScore {
  std::string name;  // "accuracy"
  double value = 0;
  bool less_is_better = false;  // else the larger, the better
};

// The width of a batch of texts, of which the longest has so many tokens: a multiple of 8.
inline int64_t batch_width(int64_t longest) {
  return (longest + 7) / 8 * 8;
}

// Examples, as samples that the model is given: one an example, or, of long texts, several.
class TaskData {
 public:
  virtual ~TaskData() = default;

  virtual int64_t size() const = 0;  // samples
  virtual int64_t examples() const { return size(); }
  // The batch of these samples: with a width of 0 as long as they need, with that of the task as
  // long as every other batch of the data. What loss() takes if the data has targets, else what
  // outputs() takes.
  virtual Batch batch(std::span<const int64_t> samples, int64_t width) const = 0;
  // The same for training, where samples may be changed at random, by their keys alone.
  virtual Batch training_batch(std::span<const SampleKey> keys, int64_t width) const {
    std::vector<int64_t> samples;
    for (const SampleKey& key : keys) samples.push_back(key.sample);
    return batch(samples, width);
  }
  // How well the outputs of all samples fit the targets.
  virtual std::vector<TaskScore> score(const TaskOutputs& outputs) const = 0;
  // What they mean: a line of JSON an example.
  virtual std::vector<std::string> predictions(const TaskOutputs& outputs) const = 0;
  // The same of one example as a picture, the bytes of a PNG. Throws Error(Argument) for a task
  // that has none.
  virtual std::string picture(const TaskOutputs& outputs, int64_t example) const;
  // What was left out when files were read; "" for nothing.
  virtual std::string faults() const { return ""; }
};

// What is predicted from. Tasks say which of these they take.
struct TaskInput {
  std::string text;                     // of an image or a sound, its file
  std::string second = {};              // of a pair; the context of a question
  std::vector<std::string> words = {};  // in place of text
};

class FinetuneTask {
 public:
  virtual ~FinetuneTask() = default;

  virtual nn::Module& model() = 0;
  // One line: family, task, labels.
  virtual std::string title() const = 0;
  // The most that a sample has, for TaskData::batch(); 0 where all samples are of one shape.
  virtual int64_t width() const = 0;
  virtual std::vector<std::string> score_names() const = 0;
  // Whether inputs are files: a path may be of bytes that are no UTF-8, a text may not.
  virtual bool takes_files() const { return false; }

  // Labelled examples, and inputs without labels. Throws Error(Io), Error(Format) for files,
  // Error(Argument) for an input that the task does not take.
  virtual std::unique_ptr<TaskData> read(const std::vector<std::filesystem::path>& files) const = 0;
  virtual std::unique_ptr<TaskData> inputs(std::span<const TaskInput> inputs) const = 0;

  // The outputs [samples, ...] of a batch, on the model's device; and its mean loss, with the
  // outputs if they are asked for.
  virtual Tensor outputs(const Batch& batch) = 0;
  virtual Tensor loss(const Batch& batch, Tensor* outputs = nullptr) = 0;

  // How deep parameters lie: 0 next to the input, the head deepest. The trunk is all but the head.
  virtual int64_t depths() const = 0;
  virtual int64_t depth_of(std::string_view parameter) const = 0;
  virtual bool is_trunk(std::string_view parameter) const = 0;

  // The weights in a Hugging Face file, the texts beside them by file name, and all of it as a
  // directory.
  virtual std::vector<WeightSlice> weight_slices() const = 0;
  virtual std::map<std::string, std::string> texts() const = 0;
  virtual void save(const std::filesystem::path& directory) const = 0;
};

}  // namespace plinth
