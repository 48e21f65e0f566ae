// plinth finetune: trains a pretrained model for a task, as a TOML file says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/run_command.h"
#include "core/error.h"
#include "train/finetune/finetune.h"

namespace plinth::apps {

namespace {

void report(const FinetuneConfig& config, const FinetuneResult& result) {
  const TrainResult& training = result.training;
  if (training.signal != 0)
    throw Interrupted(detail::concat("stopped after step ", training.steps,
                                     "; the checkpoint is written, --resume goes on"));
  std::printf("trained %lld steps", static_cast<long long>(training.steps));
  if (training.stopped_early)
    std::printf(" (no better after step %lld)", static_cast<long long>(*training.best_step));
  std::printf("\n");
  if (result.validation) {
    std::printf("validation loss %.4f", result.validation->loss);
    for (const TaskScore& score : result.validation->scores)
      std::printf(", %s %.4f", score.name.c_str(), score.value);
    std::printf("\n");
  }
  const std::string model = result.model.string();
  std::printf("\nnext:\n  plinth predict %s\n", model.c_str());
  if (!config.data.validation.empty())
    std::printf("  plinth eval %s --data %s\n", model.c_str(),
                config.data.validation.front().c_str());
}

void run_finetune(const TrainArguments& arguments) {
  FinetuneConfig config;
  ConfigSchema schema = finetune_schema(config);
  if (!arguments.load(schema, "finetune")) return;
  const RunRanks ranks(arguments, config.parallel.timeout_s);
  ProfiledRun profiled(ranks.profile, "train_step");
  const FinetuneResult result =
      finetune(config, schema, ranks.resume, print_line, ranks.device, ranks.group);
  profiled.finish();
  if (ranks.tells(result.training.signal)) report(config, result);
}

}  // namespace

void add_finetune(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "finetune", "train a pretrained model for a task (bert, vit, t5, whisper)");
  const auto arguments = std::make_shared<TrainArguments>();
  arguments->add_to(*command);
  command->footer("\nExample: plinth finetune examples/bert/finetune.toml optimizer.lr=3e-5");
  command->callback([arguments] { run_finetune(*arguments); });
}

}  // namespace plinth::apps
