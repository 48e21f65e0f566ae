// plinth finetune: trains a pretrained model for a task, as a TOML file says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/profile.h"
#include "core/error.h"
#include "distributed/world.h"
#include "train/finetune/finetune.h"

namespace plinth::apps {

namespace {

struct FinetuneArguments {
  std::string file;
  std::vector<std::string> overrides;
  bool resume = false;
  bool show_keys = false;
  DeviceOptions device;
  ProfileOptions profile;
};

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

void run(const FinetuneArguments& arguments) {
  FinetuneConfig config;
  ConfigSchema schema = finetune_schema(config);
  if (arguments.show_keys) {
    std::fputs(schema.help().c_str(), stdout);
    return;
  }
  check(!arguments.file.empty(), ErrorKind::Argument, "finetune", "takes a configuration file");
  schema.load(arguments.file);
  for (const std::string& assignment : arguments.overrides) schema.set(assignment);
  schema.finish();
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
  CLI::App* command =
      program.add_subcommand("finetune", "train a pretrained model for a task (bert, vit)");
  const auto arguments = std::make_shared<FinetuneArguments>();
  command->add_option("config", arguments->file, "TOML file; --keys explains what it may hold");
  command->add_option("overrides", arguments->overrides, "key=value, in place of the file's");
  command->add_flag("--resume", arguments->resume,
                    "go on from the run's latest checkpoint, if there is one");
  command->add_flag("--keys", arguments->show_keys, "list every key of the configuration");
  arguments->device.add_to(*command);
  arguments->profile.add_to(*command, "training steps");
  command->footer("\nExample: plinth finetune examples/bert/finetune.toml optimizer.lr=3e-5");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
