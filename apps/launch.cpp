// plinth launch: runs a command of plinth as several ranks.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/numbers.h"
#include "core/error.h"
#include "distributed/launch/launcher.h"
#include "distributed/launch/token.h"
#include "distributed/rendezvous.h"

namespace plinth::apps {

namespace {

struct LaunchArguments {
  std::vector<std::string> command;
  distributed::LaunchOptions options;
  double timeout = 30;
  std::string token_file;
};

std::string describe(const distributed::RankFailure& failure) {
  if (failure.signal == 0)
    return detail::concat("rank ", failure.rank, " ended with status ", failure.status);
  return detail::concat("rank ", failure.rank, " was killed by signal ", failure.signal, " (",
                        ::strsignal(failure.signal), ")");
}

void say(const std::string& text) {
  std::fflush(stdout);
  std::fprintf(stderr, "plinth: %s\n", one_line(text).c_str());
}

// In one call, so that another process's line cannot come between.
void print_rank_line(int rank, bool is_error, std::string_view line) {
  const std::string text = detail::concat("[rank ", rank, "] ", line, "\n");
  std::FILE* const stream = is_error ? stderr : stdout;
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

// What the launches of all nodes have in common.
void read_secret(LaunchArguments& arguments) {
  distributed::LaunchOptions& options = arguments.options;
  const distributed::Variables variables = distributed::environment();
  const auto value = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
  options.token = arguments.token_file.empty() ? value("PLINTH_TOKEN")
                                               : distributed::shared_token(arguments.token_file);
  options.run_id = value("PLINTH_RUN_ID");
  if (options.nodes == 1) return;
  check(!options.token.empty(), ErrorKind::Argument, "launch",
        "takes a secret that all nodes share: --token-file, or PLINTH_TOKEN in the environment");
  if (options.run_id.empty()) options.run_id = "run";
}

void run(LaunchArguments& arguments) {
  distributed::LaunchOptions& options = arguments.options;
  check(arguments.command.front() != "launch", ErrorKind::Argument, "launch",
        "takes another command than launch");
  check(options.nodes == 1 || (!options.master_address.empty() && options.master_port > 0),
        ErrorKind::Argument, "launch", "--nnodes ", options.nodes,
        " takes --master-addr and --master-port, too");
  read_secret(arguments);
  // The very program that runs, wherever it was found and whatever has taken its place since.
  options.program = "/proc/self/exe";
  options.arguments = arguments.command;
  options.arguments.insert(options.arguments.begin(), "plinth");
  options.grace = std::chrono::milliseconds(static_cast<int64_t>(arguments.timeout * 1000));
  distributed::LaunchEvents events;
  events.line = print_rank_line;
  events.failed = [&](const distributed::RankFailure& first) {
    say(describe(first) + (options.processes > 1 ? "; stopping the others" : ""));
  };
  events.restarting = [&](int restart) {
    say(detail::concat("starting again, ", restart, " of ", options.max_restarts));
  };
  events.warning = warn;
  const int status = distributed::launch(options, events);
  if (status != 0) throw ExitStatus(status);
}

}  // namespace

void add_launch(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("launch", "run a command as several ranks, here or on several hosts");
  const auto arguments = std::make_shared<LaunchArguments>();
  distributed::LaunchOptions& options = arguments->options;
  command->add_option("--nproc", options.processes, "ranks on this host")
      ->check(whole_number(1, 4096))
      ->capture_default_str();
  command->add_option("--nnodes", options.nodes, "hosts, each with a launch of its own")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--node-rank", options.node_rank, "which of them this is, from 0")
      ->check(whole_number(0, 999'999))
      ->capture_default_str();
  command->add_option("--master-addr", options.master_address, "host of rank 0");
  command->add_option("--master-port", options.master_port, "its port; 0: any that is free")
      ->check(whole_number(0, 65535));
  command
      ->add_option("--token-file", arguments->token_file,
                   "file with the secret that all hosts share; made if it is missing")
      ->envname("PLINTH_TOKEN_FILE");
  command
      ->add_option("--max-restarts", options.max_restarts,
                   "how often all ranks start again, from their last checkpoint, when one fails")
      ->check(whole_number(0, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--timeout", arguments->timeout,
                   "seconds that ranks have to end after a signal, before they are killed")
      ->check(real_number(0, 1e6))
      ->capture_default_str();
  command->add_option("--log-dir", options.log_directory,
                      "directory for a log of each rank, rank-0.log and so on");
  command->add_option("command", arguments->command, "command of plinth, after --")->required();
  command->footer("\nExample: plinth launch --nproc 4 --max-restarts 3 -- pretrain run.toml");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
