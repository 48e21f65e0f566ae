// plinth memory: what memory a training step takes, by a dry run of it.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/memory/report.h"
#include "apps/numbers.h"
#include "apps/run_command.h"
#include "core/error.h"
#include "core/io/file.h"
#include "train/logging/format.h"
#include "train/pretrain/objectives.h"
#include "train/pretrain/pretrain.h"

namespace plinth::apps {
namespace {

constexpr int kMostRanks = 64;  // that are run one after another

struct MemoryArguments {
  RunFile file;
  int ranks = 1;
  int rank = -1;  // all
  std::string transfers = "late";
  std::string svg;
  size_t top = 20;
  bool json = false;
};

MemoryAnswer answer_to(const MemoryArguments& arguments, const PretrainConfig& config,
                       const ConfigSchema& schema) {
  check(arguments.rank >= 0 || arguments.ranks <= kMostRanks, ErrorKind::Argument, "--ranks",
        "got ", arguments.ranks, ", takes at most ", kMostRanks,
        " without --rank, which names one");
  DryRunOptions options{.ranks = arguments.ranks,
                        .rank = std::max(0, arguments.rank),
                        .transfers = arguments.transfers == "late"
                                         ? distributed::DryTransfers::WhenWaited
                                         : distributed::DryTransfers::AtOnce};
  const int end = arguments.rank < 0 ? arguments.ranks : arguments.rank + 1;
  MemoryAnswer answer;
  for (; options.rank < end; ++options.rank) {
    answer.ranks.push_back({options.rank, dry_run(config, schema, options)});
    const size_t last = answer.ranks.size() - 1;
    const bool is_most =
        last == 0 || answer.ranks[last].report.peak > answer.ranks[answer.shown].report.peak;
    DryRunReport& less = answer.ranks[is_most ? answer.shown : last].report;
    if (is_most) answer.shown = last;
    if (last > 0) less.tensors.clear(), less.samples.clear();
  }
  answer.title = detail::concat(
      config.init_from.empty() ? trained_type(config) : config.init_from.string(), ", ",
      format_count(static_cast<double>(answer.ranks[0].report.parameters)), " parameters, ",
      arguments.ranks, arguments.ranks == 1 ? " rank" : " ranks", ", a step of ",
      config.train.batch, " sequences in micro-batches of ", config.micro_batch());
  return answer;
}

void run(const MemoryArguments& arguments) {
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);
  arguments.file.load(schema);
  const MemoryAnswer answer = answer_to(arguments, config, schema);
  if (!arguments.svg.empty()) {
    AtomicFile file(arguments.svg);
    file.write(memory_svg(answer));
    file.commit();
  }
  const std::string text =
      arguments.json ? memory_json(answer) : memory_table(answer, arguments.top);
  std::fputs(text.c_str(), stdout);
}

}  // namespace

void add_memory(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("memory", "what memory a training step takes, without training");
  const auto arguments = std::make_shared<MemoryArguments>();
  MemoryArguments& a = *arguments;
  command->add_option("config", a.file.path, "TOML file, as plinth pretrain takes it")->required();
  command->add_option("overrides", a.file.overrides, "key=value, in place of the file's");
  command->add_option("--ranks", a.ranks, "ranks of the run")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--rank", a.rank, "the rank to look at; if not given, each in turn")
      ->check(whole_number(0, (1 << 20) - 1));
  command
      ->add_option("--transfers", a.transfers,
                   "when what ranks send lets go of its memory: late, as it is waited for, the "
                   "most; early, at once, the least")
      ->check(CLI::IsMember({"late", "early"}))
      ->capture_default_str();
  command->add_option("--top", a.top, "groups of tensors to show")
      ->check(whole_number(1, 100000))
      ->capture_default_str();
  command->add_flag("--json", a.json, "one JSON object, with every tensor");
  command->add_option("--svg", a.svg, "write a picture of the step's memory to this file");
  command->footer(
      "\nExample: plinth memory train.toml parallel.zero=3 parallel.tp=2 --ranks 16 --rank 0");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
