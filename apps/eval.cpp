// plinth eval: how well a model predicts a text, or a fine-tuned one labels.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "apps/numbers.h"
#include "apps/profile.h"
#include "apps/task_options.h"
#include "core/error.h"
#include "core/io/file.h"
#include "train/evaluation.h"
#include "train/finetune/evaluate.h"
#include "train/pretrain/masked_batches.h"

namespace plinth::apps {

namespace {

namespace fs = std::filesystem;

struct EvalArguments {
  std::string model;
  std::vector<std::string> data;
  std::string text;
  std::string tokenizer;
  EvaluationOptions options;
  TaskOptions task;
  int64_t mask_token = -1;
  bool no_begin_token = false;
  bool average = false;
  DeviceOptions device;
  ProfileOptions profile;
  bool json = false;
  bool outputs = false;
  std::vector<CLI::Option*> of_texts, of_tasks;  // what only one of the two kinds of model takes
};

std::vector<int32_t> tokens_of(const fs::path& text, const Tokenizer& tokenizer, bool begins) {
  const MappedFile file(text);
  check(!file.bytes().empty(), ErrorKind::Format, text.string(), "is empty");
  return tokens_to_read(tokenizer, text_of(file.bytes()), begins);
}

void report(const EvalArguments& arguments, const Evaluation& result) {
  if (arguments.json) {
    std::printf("{\"loss\": %.6f, \"perplexity\": %.6g, \"tokens\": %lld", result.loss,
                result.perplexity(), static_cast<long long>(result.tokens));
    if (result.bytes) std::printf(", \"bits_per_byte\": %.6f", result.bits_per_byte());
    std::printf("}\n");
    return;
  }
  std::printf("loss           %.4f nats per token\n", result.loss);
  std::printf("perplexity     %.4g\n", result.perplexity());
  if (result.bytes) std::printf("bits per byte  %.4f\n", result.bits_per_byte());
  std::printf("tokens         %lld\n", static_cast<long long>(result.tokens));
}

void print_outputs(const TaskOutputs& outputs) {
  for (const std::vector<double>& sample : outputs) {
    std::string line;
    for (const double value : sample) {
      char text[32];
      std::snprintf(text, sizeof text, "%.9g", value);
      line += (line.empty() ? "" : ", ") + std::string(text);
    }
    std::printf("[%s]\n", line.c_str());
  }
}

// What would do nothing is refused by name.
void refuse(const std::vector<CLI::Option*>& options, const std::string& model, const char* kinds) {
  for (const CLI::Option* option : options)
    check(option->count() == 0, ErrorKind::Argument, "--" + option->get_lnames().front(),
          "does nothing for ", model, kinds);
}

// A fine-tuned model on labelled files.
void run_task(const EvalArguments& arguments, const fs::path& directory, Device device) {
  check(arguments.text.empty(), ErrorKind::Argument, "--text",
        "got a text, a fine-tuned model takes --data with labels");
  refuse(arguments.of_texts, arguments.model,
         ", which is fine-tuned: it is an option of language models");
  const std::unique_ptr<FinetuneTask> task =
      load_task(arguments.task.settings_for(directory), directory);
  task->model().to(device);
  const std::unique_ptr<TaskData> data = task->read({arguments.data.begin(), arguments.data.end()});
  if (const std::string faults = data->faults(); !faults.empty()) warn(faults);
  check(data->size() > 0, ErrorKind::Format, arguments.data.front(), "has no examples");
  ProfiledRun profiled(arguments.profile, "evaluate_batch");
  const TaskEvaluation result = evaluate_task(*task, *data, arguments.options.batch);
  profiled.finish();
  if (arguments.outputs) print_outputs(result.outputs);
  const auto examples = static_cast<long long>(data->examples());
  if (arguments.json) {
    std::printf("{\"examples\": %lld, \"loss\": %.9g", examples, result.loss);
    for (const TaskScore& score : result.scores)
      std::printf(", \"%s\": %.9g", score.name.c_str(), score.value);
    std::printf("}\n");
    return;
  }
  std::printf("%-13s %lld\n%-13s %.4f\n", "examples", examples, "loss", result.loss);
  for (const TaskScore& score : result.scores)
    std::printf("%-13s %.4f\n", score.name.c_str(), score.value);
}

void run(EvalArguments& arguments) {
  check(arguments.data.empty() != arguments.text.empty(), ErrorKind::Argument, "eval",
        "takes either --data or --text");
  const Device device = arguments.device.apply();
  const fs::path directory = model_directory(arguments.model);
  if (is_fine_tuned(directory)) return run_task(arguments, directory, device);
  refuse(arguments.of_tasks, arguments.model,
         ", a language model: it is an option of fine-tuned ones");
  const std::unique_ptr<LanguageModel> model = load_model(directory, arguments.average);
  model->to(device);
  std::optional<Tokenizer> tokenizer;
  if (!arguments.text.empty() || !arguments.tokenizer.empty() || Tokenizer::is_in(directory))
    tokenizer = load_tokenizer(arguments.tokenizer, directory);
  arguments.options.tokenizer = tokenizer ? &*tokenizer : nullptr;
  std::optional<TokenMasker> masker;
  if (!model->info().causal)
    arguments.options.masker = &masker.emplace(masking_options(
        arguments.options.tokenizer, model->info().vocab_size, arguments.mask_token));
  check(!arguments.no_begin_token || (!arguments.text.empty() && !masker), ErrorKind::Argument,
        "--no-begin-token", "does nothing but for a --text of a model that continues texts");
  ProfiledRun profiled(arguments.profile, "evaluate_batch");
  Evaluation result;
  if (!arguments.text.empty()) {
    // A masker puts its own tokens around each window.
    const bool begins = !masker && !arguments.no_begin_token;
    result = evaluate(*model, tokens_of(arguments.text, *tokenizer, begins), arguments.options);
  } else {
    const TokenDataset data = TokenDataset::open(arguments.data);
    data.validate(model->info().vocab_size);
    result = evaluate(*model, data, arguments.options);
  }
  report(arguments, result);
  profiled.finish();
}

// Options of language models alone.
void add_text_options(CLI::App& command, EvalArguments& arguments) {
  const auto add = [&arguments](CLI::Option* option) {
    arguments.of_texts.push_back(option);
    return option;
  };
  EvaluationOptions& options = arguments.options;
  add(command.add_option("--tokenizer", arguments.tokenizer,
                         "folder with tokenizer.json, if not the model's"));
  add(add_begin_option(command, arguments.no_begin_token));
  add(command.add_option("--context", options.context, "tokens of a window; 0: the model's"))
      ->check(whole_number(0))
      ->capture_default_str();
  add(command.add_option("--windows", options.max_windows, "the most windows; 0: all of the text"))
      ->check(whole_number(0))
      ->capture_default_str();
  add(command.add_option(
          "--mask-token", arguments.mask_token,
          "id of what stands for masked tokens (bert), if not the tokenizer's [MASK]"))
      ->check(whole_number(0));
  add(command.add_flag("--average", arguments.average,
                       "the moving average of the weights (train.ema_decay)"));
}

// Options of fine-tuned models alone.
void add_task_options(CLI::App& command, EvalArguments& arguments) {
  const size_t others = command.get_options().size();
  command.add_flag("--outputs", arguments.outputs,
                   "also a line of logits a sample, of a fine-tuned model");
  arguments.task.add_lengths_to(command);
  arguments.task.add_labels_to(command);
  arguments.task.add_speech_to(command);
  arguments.task.add_columns_to(command);
  const std::vector<CLI::Option*> all = command.get_options();
  arguments.of_tasks.assign(all.begin() + static_cast<int64_t>(others), all.end());
}

}  // namespace

void add_eval(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("eval", "loss and perplexity on a text; scores on labelled files");
  const auto arguments = std::make_shared<EvalArguments>();
  command->add_option("model", arguments->model, "model or run directory")->required();
  command->add_option("--data", arguments->data,
                      "token shards: files, folders or patterns; of a fine-tuned model, "
                      "labelled files");
  command->add_option("--text", arguments->text, "a text file, of a language model");
  add_text_options(*command, *arguments);
  command->add_option("--batch", arguments->options.batch, "windows or samples at once")
      ->check(batch_size())
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "one JSON line");
  add_task_options(*command, *arguments);
  arguments->device.add_to(*command);
  arguments->profile.add_to(*command, "batches");
  command->footer("\nExample: plinth eval runs/kjv --data data/kjv/validation_*.bin");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
