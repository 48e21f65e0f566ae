// plinth pretrain: trains a model as a TOML file says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/run_command.h"
#include "core/error.h"
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

void run_pretrain(const TrainArguments& arguments) {
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  if (!arguments.load(schema, "pretrain")) return;
  const RunRanks ranks(arguments, config.parallel.timeout_s);
  ProfiledRun profiled(ranks.profile, "train_step");
  const PretrainResult result =
      pretrain(config, schema, ranks.resume, print_line, ranks.device, ranks.group);
  profiled.finish();
  if (ranks.tells(result.training.signal)) report(config, result);
}

}  // namespace

void add_pretrain(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("pretrain", "train a model by its family's own objective");
  const auto arguments = std::make_shared<TrainArguments>();
  arguments->add_to(*command);
  command->footer("\nExample: plinth pretrain examples/demo/kjv.toml optimizer.lr=1e-3 --resume");
  command->callback([arguments] { run_pretrain(*arguments); });
}

}  // namespace plinth::apps
