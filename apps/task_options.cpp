#include "apps/task_options.h"

#include <CLI/CLI.hpp>

#include "apps/sampling_options.h"
#include "core/error.h"

namespace plinth::apps {

namespace {

constexpr const char *kMaxLength = "--max-length", *kStride = "--stride",
                     *kTargetLength = "--target-length", *kBeams = "--beams";

}  // namespace

std::string length_options(const TaskSettings& settings) {
  const TaskSettings defaults;
  std::string options;
  const auto add = [&](const char* option, int64_t TaskSettings::*member) {
    if (settings.*member != defaults.*member)
      options += detail::concat(" ", option, " ", settings.*member);
  };
  add(kMaxLength, &TaskSettings::max_length);
  add(kStride, &TaskSettings::stride);
  add(kTargetLength, &TaskSettings::target_length);
  add(kBeams, &TaskSettings::beams);
  return options;
}

void TaskOptions::add_lengths_to(CLI::App& command) {
  command.add_option(kMaxLength, settings.max_length, "tokens of a sample, of a fine-tuned model")
      ->check(CLI::Range(5, 1 << 16))
      ->capture_default_str();
  command
      .add_option(kStride, settings.stride,
                  "tokens that a window of a context shares with the last")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option(kTargetLength, settings.target_length,
                  "the most tokens of a text that is written (seq2seq)")
      ->check(CLI::Range(2, 1 << 16))
      ->capture_default_str();
  command.add_option(kBeams, settings.beams, "of the search for it; 1: greedy")
      ->check(CLI::Range(1, 1 << 10))
      ->capture_default_str();
  add_sampling_options(command, settings.sampling);
  command.add_flag("--no-answer", settings.no_answer, "a question may have no answer");
}

void TaskOptions::add_labels_to(CLI::App& command) {
  command
      .add_option("--labels", settings.labels, "what a clip is to tell apart, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--prompt", settings.prompts,
                  "a text that stands for a label, which replaces {}; may be given several times")
      ->allow_extra_args(false)
      ->capture_default_str();
}

void TaskOptions::add_speech_to(CLI::App& command) {
  command.add_option("--language", settings.language,
                     "that is spoken, as en; none: the likeliest (speech-seq2seq)");
  command.add_flag("--translate", settings.translate, "to English (speech-seq2seq)");
}

void TaskOptions::add_threshold_to(CLI::App& command) {
  command
      .add_option("--threshold", settings.threshold,
                  "the least score of an object that is named (object-detection)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
}

void TaskOptions::add_columns_to(CLI::App& command) {
  command.add_option("--text-column", settings.text_column, "the text in a labelled file")
      ->capture_default_str();
  command.add_option("--pair-column", settings.pair_column, "the second of two texts");
  command.add_option("--label-column", settings.label_column, "the label")->capture_default_str();
  command.add_flag("!--no-header", settings.header,
                   "the file begins with a row of data, and columns are 1, 2, ...");
  command.add_option("--image-folder", settings.image_folder,
                     "where the images of COCO's JSON lie; none: beside it");
  command
      .add_option("--max-bad-lines", settings.max_bad_lines, "so many malformed lines are left out")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace plinth::apps
