// plinth predict: what a fine-tuned model says of texts, as JSON lines.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "apps/numbers.h"
#include "apps/task_options.h"
#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/tokenizer/utf8.h"
#include "train/finetune/evaluate.h"

namespace plinth::apps {

namespace {

struct PredictArguments {
  std::string model;
  std::vector<std::string> texts;
  std::string second;
  std::string file;
  std::string picture;
  bool json = false;
  TaskOptions task;
  DeviceOptions device;
};

std::string repaired(const std::string& text) {
  return std::string(RepairedText(text).text());
}

TaskInput input_of(const FinetuneTask& task, const std::string& text, const std::string& second) {
  return {task.takes_files() ? text : repaired(text), repaired(second)};
}

// An object may hold more than what is predicted from, as labelled data does, but not less.
void check_keys(const nlohmann::json& json, const std::string& place) {
  std::string keys;
  for (const auto& [key, value] : json.items()) {
    if (key == "text" || key == "question" || key == "words") return;
    keys += (keys.empty() ? "" : ", ") + printable(key);
  }
  throw Error(ErrorKind::Format, place,
              "got an object with " + (keys.empty() ? "no key" : keys) +
                  ", takes text or question, beside second or context, or words");
}

TaskInput input_of_object(const std::string& line, const std::string& place) {
  const nlohmann::json json = parse_json(line, place);
  check(json.is_object(), ErrorKind::Format, place, "is no JSON object");
  check_keys(json, place);
  TaskInput input;
  for (const auto& [key, value] : json.items()) {
    if (key == "words") {
      check(value.is_array(), ErrorKind::Format, place, "words must be an array of strings");
      for (const nlohmann::json& word : value) {
        check(word.is_string(), ErrorKind::Format, place, "words must be an array of strings");
        input.words.push_back(word.get<std::string>());
      }
      continue;
    }
    const bool is_first = key == "text" || key == "question";
    if (!is_first && key != "second" && key != "context") continue;
    check(value.is_string(), ErrorKind::Format, place, key, " must be a string");
    (is_first ? input.text : input.second) = value.get<std::string>();
  }
  return input;
}

void predict(FinetuneTask& task, const PredictArguments& arguments,
             const std::vector<TaskInput>& inputs) {
  const std::unique_ptr<TaskData> data = task.inputs(inputs);
  const TaskOutputs outputs = task_outputs(task, *data, arguments.task.batch);
  for (const std::string& line : data->predictions(outputs)) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  if (!arguments.picture.empty())
    write_file_atomically(arguments.picture, data->picture(outputs, 0));
}

// Some lines at a time, so that there is no limit to their number.
void predict_lines(FinetuneTask& task, const PredictArguments& arguments, std::istream& in,
                   const std::string& name) {
  const auto most = static_cast<size_t>(arguments.task.batch) * 8;
  std::vector<TaskInput> inputs;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (number == 1) line = std::string(without_byte_order_mark(line));
    inputs.push_back(arguments.json ? input_of_object(line, detail::concat(name, ":", number))
                                    : input_of(task, line, arguments.second));
    if (inputs.size() < most) continue;
    predict(task, arguments, inputs);
    inputs.clear();
  }
  if (!inputs.empty()) predict(task, arguments, inputs);
}

void run(const PredictArguments& arguments) {
  check(arguments.texts.empty() || (arguments.file.empty() && !arguments.json), ErrorKind::Argument,
        "predict", "takes texts, or a file, or lines on standard input");
  check(arguments.second.empty() || !arguments.json, ErrorKind::Argument, "--second",
        "got a text, goes with no --json, whose objects have their own second or context");
  check(arguments.picture.empty() || arguments.texts.size() == 1, ErrorKind::Argument, "--picture",
        "got ", arguments.texts.size(), " images, takes one");
  const Device device = arguments.device.apply();
  const std::filesystem::path directory = model_directory(arguments.model);
  const std::unique_ptr<FinetuneTask> task =
      load_task(arguments.task.settings_for(directory), directory);
  task->model().to(device);
  if (!arguments.texts.empty()) {
    std::vector<TaskInput> inputs;
    for (const std::string& text : arguments.texts)
      inputs.push_back(input_of(*task, text, arguments.second));
    return predict(*task, arguments, inputs);
  }
  if (arguments.file.empty()) return predict_lines(*task, arguments, std::cin, "standard input");
  std::ifstream in(arguments.file, std::ios::binary);
  check(in.good() && !std::filesystem::is_directory(arguments.file), ErrorKind::Io, arguments.file,
        "cannot be read as a file");
  predict_lines(*task, arguments, in, arguments.file);
}

}  // namespace

void add_predict(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "predict", "what a fine-tuned model says of texts, images or sounds: a line of JSON each");
  const auto arguments = std::make_shared<PredictArguments>();
  command->add_option("model", arguments->model, "model or run directory")->required();
  command->add_option("texts", arguments->texts,
                      "texts, or files of images or sounds; none: lines of --file, or of stdin");
  command->add_option("--second", arguments->second,
                      "the second text of each pair, or the context of each question");
  command->add_option("--file", arguments->file, "a file with a text a line");
  command->add_flag("--json", arguments->json,
                    "lines are objects with text and second, question and context, or words");
  command->add_option("--picture", arguments->picture,
                      "a PNG to write: the image with the boxes that were found, or the mask in "
                      "colours (object-detection, semantic-segmentation)");
  command->add_option("--batch", arguments->task.batch, "samples at once")
      ->check(batch_size())
      ->capture_default_str();
  arguments->task.add_lengths_to(*command);
  arguments->task.add_labels_to(*command);
  arguments->task.add_speech_to(*command);
  arguments->task.add_timestamps_to(*command);
  arguments->task.add_threshold_to(*command);
  arguments->device.add_to(*command);
  command->footer("\nExample: plinth predict runs/reviews/model 'a fine film'");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
