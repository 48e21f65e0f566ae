// plinth finetune: trains a pretrained model for a task, as a TOML file says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/run_command.h"
#include "core/error.h"
#include "distributed/world.h"
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

void run(const TrainArguments& arguments) {
  FinetuneConfig config;
  ConfigSchema schema = finetune_schema(config);
  if (!arguments.load(schema, "finetune")) return;
  const distributed::Rendezvous place = distributed::from_environment();
  check(place.world_size == 1, ErrorKind::Argument, "finetune", "got ", place.world_size,
        " ranks, takes one process");
  const Device device = arguments.device.apply();
  const auto tell = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  ProfiledRun profiled(arguments.profile, "train_step");
  // A launcher that starts a run again means it to go on.
  const bool resume = arguments.resume || place.restarts > 0;
  const FinetuneResult result = finetune(config, schema, resume, tell, device);
  profiled.finish();
  report(config, result);
}

}  // namespace

void add_finetune(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "finetune", "train a pretrained model for a task (bert, vit, t5, whisper)");
  const auto arguments = std::make_shared<TrainArguments>();
  arguments->add_to(*command);
  command->footer("\nExample: plinth finetune examples/bert/finetune.toml optimizer.lr=3e-5");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
