#pragma once

// The tasks that there are, by name.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/audio/spec_augment.h"
#include "models/sampler.h"
#include "train/finetune/task.h"

namespace plinth {

// What a task is to read, and how. Each task says what it needs.
struct TaskSettings {
  std::string name = {};  // of task_names(); "": that of the model's directory
  // In the order of their numbers; none: the model's, or the data's.
  std::vector<std::string> labels = {};
  std::vector<double> class_weights = {};  // of each label in the loss; none: all 1
  int64_t max_length = 128;                // tokens of a sample
  int64_t stride = 32;                     // tokens that a window of a context shares with the last
  int64_t answer_length = 30;              // the most tokens of an answer
  int64_t target_length = 64;              // the most tokens of a text that is written (seq2seq)
  int64_t beams = 1;                       // of the search for it
  // With one beam, how its tokens are drawn; a temperature of 0 takes the most likely.
  SamplingOptions sampling = {.temperature = 0};
  bool no_answer = false;  // a question may have none, as in SQuAD 2.0

  std::string text_column = "text";
  std::string pair_column = {};
  std::string label_column = "label";
  bool header = true;
  int64_t word_column = 1;  // of tagged words
  int64_t tag_column = -1;
  int64_t max_bad_lines = 100;

  // Of images in training.
  double min_crop_area = 1;  // of a random part that is shown in place of the whole
  bool flip = false;
  int64_t rand_augment = 0;      // operations of RandAugment
  double mixup = 0, cutmix = 0;  // alpha of Beta(alpha, alpha); 0: not mixed

  // Of images whose labels are told by texts, {} standing for the label.
  std::vector<std::string> prompts = {"a photo of a {}."};

  // Of objects in images.
  std::filesystem::path image_folder = {};  // where a file's images lie; empty: beside it
  int64_t detection_tokens = 100;           // of a ViT that becomes a detector
  double threshold = 0.5;                   // the least score of what a prediction names

  // Of sounds.
  std::string units = "characters";  // of a transcript; or "words"
  std::string language = {};         // that is spoken, as "en"; "": the likeliest
  bool translate = false;            // to English (speech-seq2seq)
  bool timestamps = false;           // when what is said; hears sounds of any length
  SpecAugmentOptions spec_augment = {};
};

inline constexpr const char* kImageTask = "image-classification";
inline constexpr const char* kDetectionTask = "object-detection";
inline constexpr const char* kSegmentationTask = "semantic-segmentation";
inline constexpr const char* kSequenceTask = "seq2seq";
inline constexpr const char* kSpeechTask = "speech-recognition";
inline constexpr const char* kTranscriptionTask = "speech-seq2seq";

std::vector<std::string> task_names();

// A task for a directory: a pretrained model, which gets a new head drawn from the seed, or one
// that was fine-tuned for the same task and labels, which keeps its head. Where nothing else says
// the labels, they are those of the `train` files. Throws Error(Config) naming the key, and what
// reading files throws.
std::unique_ptr<FinetuneTask> make_task(const TaskSettings& settings,
                                        const std::filesystem::path& directory,
                                        const std::vector<std::filesystem::path>& train,
                                        uint64_t seed,
                                        const std::function<void(const std::string&)>& tell);

// Whether the directory holds a model with a head for a task, or one that needs none.
bool is_fine_tuned(const std::filesystem::path& directory);
// That model, as it is. Throws what make_task() does.
std::unique_ptr<FinetuneTask> load_task(const TaskSettings& settings,
                                        const std::filesystem::path& directory);

}  // namespace plinth
