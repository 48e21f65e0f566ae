// plinth pretrain: trains a model as a TOML file says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/run_command.h"
#include "core/error.h"
#include "distributed/world.h"
#include "train/logging/format.h"
#include "train/pretrain/pretrain.h"

namespace plinth::apps {

namespace {

// Commands that take what was trained.
void print_next(const PretrainConfig& config, const PretrainResult& result) {
  const std::string run = config.run.directory.string();
  if (result.type == "t5")
    std::printf("  plinth finetune run.toml task.name=seq2seq model.directory=%s\n", run.c_str());
  if (result.type == "vit_mae")
    std::printf("  plinth finetune run.toml task.name=image-classification model.directory=%s\n",
                run.c_str());
  if (!result.unigram_entropy) return;
  if (result.causal) std::printf("  plinth generate %s --prompt 'Once'\n", run.c_str());
  if (config.data.validation.empty()) return;
  const std::string mask = result.causal || config.masking.token < 0
                               ? ""
                               : " --mask-token " + std::to_string(config.masking.token);
  std::printf("  plinth eval %s --data %s%s\n", run.c_str(), config.data.validation.front().c_str(),
              mask.c_str());
}

void report(const PretrainConfig& config, const PretrainResult& result) {
  const TrainResult& training = result.training;
  const std::string run = config.run.directory.string();
  if (training.signal != 0)
    throw Interrupted(detail::concat("stopped after step ", training.steps, " of ",
                                     config.train.steps,
                                     "; the checkpoint is written, --resume goes on"));
  std::printf("trained %lld steps", static_cast<long long>(training.steps));
  if (training.skipped_steps)
    std::printf(" (%lld skipped)", static_cast<long long>(training.skipped_steps));
  if (!std::isnan(training.validation_loss))
    std::printf(", validation loss %.4f%s", training.validation_loss,
                result.unigram_entropy ? " nats per token" : "");
  if (result.unigram_entropy) std::printf(", unigram entropy %.4f", *result.unigram_entropy);
  std::printf("\n\nnext:\n");
  print_next(config, result);
  std::printf("  plinth inspect %s\n", run.c_str());
  if (config.log.report) std::printf("  open %s/report.html\n", run.c_str());
}

// "trace.json" becomes "trace.rank1.json".
std::string file_of_rank(const std::filesystem::path& file, int rank) {
  std::filesystem::path own = file;
  own.replace_extension(detail::concat(".rank", rank, file.extension().string()));
  return own.string();
}

void run(const TrainArguments& arguments) {
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  if (!arguments.load(schema, "pretrain")) return;
  const distributed::Rendezvous place = distributed::from_environment();
  DeviceOptions device_options = arguments.device;
  if (device_options.device == "cuda")  // each rank of a host has a GPU of its own
    device_options.device = detail::concat("cuda:", place.local_rank);
  const Device device = device_options.apply();
  const auto tell = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  std::shared_ptr<distributed::ProcessGroup> group;
  if (place.world_size > 1)
    group = distributed::join_world(place, device, std::chrono::seconds(config.parallel.timeout_s));
  ProfileOptions profile = arguments.profile;
  if (place.world_size > 1 && !profile.file.empty())
    profile.file = file_of_rank(profile.file, place.rank);
  ProfiledRun profiled(profile, "train_step");
  // A launcher that starts a run again means it to go on.
  const bool resume = arguments.resume || place.restarts > 0;
  const PretrainResult result = pretrain(config, schema, resume, tell, device, group);
  profiled.finish();
  if (place.rank == 0 || result.training.signal != 0) report(config, result);
}

}  // namespace

void add_pretrain(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("pretrain", "train a model by its family's own objective");
  const auto arguments = std::make_shared<TrainArguments>();
  arguments->add_to(*command);
  command->footer("\nExample: plinth pretrain examples/demo/kjv.toml optimizer.lr=1e-3 --resume");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
