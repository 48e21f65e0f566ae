#include "apps/task_options.h"

#include <CLI/CLI.hpp>

#include "apps/numbers.h"
#include "apps/sampling_options.h"
#include "core/error.h"
#include "train/finetune/task_file.h"

namespace plinth::apps {

namespace {

// The help of an option whose default task.toml may say.
template <class T>
std::string or_as_trained(const char* help, const T& otherwise) {
  return detail::concat(help, "; default: as in training, or ", otherwise);
}

}  // namespace

template <class T>
CLI::Option* TaskOptions::replacing(CLI::Option* option, T TaskSettings::*member) {
  replace_.push_back([this, option, member](TaskSettings& settings) {
    if (option->count() > 0) settings.*member = given_.*member;
  });
  return option;
}

template <class T>
CLI::Option* TaskOptions::add(CLI::App& command, const std::string& name, T TaskSettings::*member,
                              const std::string& help) {
  return replacing(command.add_option(name, given_.*member, help), member);
}

CLI::Option* TaskOptions::add_flag(CLI::App& command, const std::string& name,
                                   bool TaskSettings::*member, const std::string& help) {
  return replacing(command.add_flag(name, given_.*member, help), member);
}

TaskSettings TaskOptions::settings_for(const std::filesystem::path& directory) const {
  TaskSettings settings = read_task_file(directory);
  settings.sampling = given_.sampling;
  for (const auto& replace : replace_) replace(settings);
  return settings;
}

void TaskOptions::add_lengths_to(CLI::App& command) {
  add(command, "--max-length", &TaskSettings::max_length,
      or_as_trained("tokens of a sample, of a fine-tuned model", given_.max_length))
      ->check(whole_number(5, 1 << 16));
  add(command, "--stride", &TaskSettings::stride,
      or_as_trained("tokens that a window of a context shares with the last", given_.stride))
      ->check(whole_number(0));
  add(command, "--target-length", &TaskSettings::target_length,
      or_as_trained("the most tokens of a text that is written (seq2seq)", given_.target_length))
      ->check(whole_number(2, 1 << 16));
  add(command, "--beams", &TaskSettings::beams,
      or_as_trained("of the search for it; 1: greedy", given_.beams))
      ->check(whole_number(1, 1 << 10));
  add_sampling_options(command, given_.sampling);
  add_flag(command, "--no-answer", &TaskSettings::no_answer, "a question may have no answer");
}

void TaskOptions::add_labels_to(CLI::App& command) {
  add(command, "--labels", &TaskSettings::labels,
      "what a clip is to tell apart, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  add(command, "--prompt", &TaskSettings::prompts,
      "a text that stands for a label, which replaces {}; may be given several times")
      ->allow_extra_args(false)
      ->capture_default_str();
}

void TaskOptions::add_speech_to(CLI::App& command) {
  add(command, "--language", &TaskSettings::language,
      or_as_trained("that is spoken, as en (speech-seq2seq)", "the likeliest"));
  add_flag(command, "--translate", &TaskSettings::translate, "to English (speech-seq2seq)");
}

void TaskOptions::add_timestamps_to(CLI::App& command) {
  add_flag(command, "--timestamps", &TaskSettings::timestamps,
           "when what is said, of sounds of any length (speech-seq2seq)");
}

void TaskOptions::add_threshold_to(CLI::App& command) {
  add(command, "--threshold", &TaskSettings::threshold,
      "the least score of an object that is named (object-detection)")
      ->check(real_number(0, 1))
      ->capture_default_str();
}

void TaskOptions::add_columns_to(CLI::App& command) {
  add(command, "--text-column", &TaskSettings::text_column,
      or_as_trained("the text in a labelled file", given_.text_column));
  add(command, "--pair-column", &TaskSettings::pair_column,
      or_as_trained("the second of two texts", "none"));
  add(command, "--label-column", &TaskSettings::label_column,
      or_as_trained("the label", given_.label_column));
  add_flag(command, "!--no-header", &TaskSettings::header,
           "the file begins with a row of data, and columns are 1, 2, ...");
  add(command, "--word-column", &TaskSettings::word_column,
      or_as_trained("of CoNLL's columns, from 1; from the last, -1", given_.word_column))
      ->check(whole_number(-1000, 1000));
  add(command, "--tag-column", &TaskSettings::tag_column,
      or_as_trained("likewise", given_.tag_column))
      ->check(whole_number(-1000, 1000));
  add(command, "--image-folder", &TaskSettings::image_folder,
      "where the images of COCO's JSON lie; none: beside it");
  add(command, "--max-bad-lines", &TaskSettings::max_bad_lines,
      "so many malformed lines are left out")
      ->check(whole_number(0))
      ->capture_default_str();
}

}  // namespace plinth::apps
