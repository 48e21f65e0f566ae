// plinth generate: continues a text.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "apps/numbers.h"
#include "apps/profile.h"
#include "apps/sampling_options.h"
#include "core/error.h"
#include "models/config_json.h"
#include "train/generation/generate.h"

namespace plinth::apps {

namespace {

struct GenerateArguments {
  std::string model;
  std::string tokenizer;
  std::string prompt = "\n";
  GenerateOptions options;
  bool no_cache = false;
  bool ignore_stop = false;
  bool no_begin_token = false;
  bool average = false;
  DeviceOptions device;
  ProfileOptions profile;
};

// The model's, which generation_config.json has before config.json, and the tokenizer's.
std::vector<int64_t> end_tokens(const std::filesystem::path& directory,
                                const LanguageModelInfo& info, const Tokenizer& tokenizer) {
  std::vector<int64_t> ends = info.eos_tokens;
  const std::filesystem::path settings = directory / "generation_config.json";
  if (exists(settings)) ends = ConfigJson::read(settings).tokens("eos_token_id", ends);
  if (const auto end = tokenizer.eos_id()) ends.push_back(*end);
  return ends;
}

void print_text(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);  // a character is seen when it is there
}

void run(GenerateArguments& arguments) {
  const Device device = arguments.device.apply();
  const std::filesystem::path directory = model_directory(arguments.model);
  const Tokenizer tokenizer = load_tokenizer(arguments.tokenizer, directory);
  const std::unique_ptr<LanguageModel> model = load_model(directory, arguments.average);
  model->to(device);
  const std::vector<int32_t> prompt =
      tokens_to_read(tokenizer, arguments.prompt, !arguments.no_begin_token);
  check(!prompt.empty(), ErrorKind::Argument, "--prompt", "is empty, takes at least one character");
  arguments.options.use_cache = !arguments.no_cache;
  if (!arguments.ignore_stop)
    arguments.options.stop_tokens = end_tokens(directory, model->info(), tokenizer);
  StreamDecoder decoder(tokenizer);
  ProfiledRun profiled(arguments.profile, "generate_token");
  print_text(arguments.prompt);
  generate(*model, prompt, arguments.options, [&](int32_t token) {
    print_text(decoder.push(token));
    return true;
  });
  print_text(decoder.finish() + "\n");
  profiled.finish();
}

}  // namespace

void add_generate(CLI::App& program) {
  CLI::App* command = program.add_subcommand("generate", "continue a text with a model");
  const auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("model", arguments->model, "model or run directory")->required();
  command->add_option("--prompt", arguments->prompt, "how the text starts");
  command->add_option("--tokenizer", arguments->tokenizer,
                      "folder with tokenizer.json, if not the model's");
  add_begin_option(*command, arguments->no_begin_token);
  command->add_option("--tokens", arguments->options.max_tokens, "the most tokens to add")
      ->check(whole_number(0))
      ->capture_default_str();
  add_sampling_options(*command, arguments->options.sampling);
  command->add_flag("--no-cache", arguments->no_cache, "read the whole text again for each token");
  command->add_flag("--ignore-stop", arguments->ignore_stop, "go on after the end-of-text token");
  command->add_flag("--average", arguments->average,
                    "the moving average of the weights (train.ema_decay)");
  arguments->device.add_to(*command);
  arguments->profile.add_to(*command, "tokens");
  command->footer(
      "\nExample: plinth generate runs/kjv --prompt 'In the beginning' --temperature 0.8 --top-k "
      "50");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
