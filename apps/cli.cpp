#include "apps/cli.h"

#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "apps/numbers.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/nearest.h"

namespace plinth::apps {

namespace {

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string unknown(const std::string& what, const std::string& word,
                    const std::vector<std::string>& right) {
  const std::vector<std::string_view> views(right.begin(), right.end());
  const std::string_view best = nearest(word, views, std::max<size_t>(2, word.size() / 2));
  std::string text = "unknown " + what + " '" + word + "'";
  if (!best.empty()) return text + "; did you mean '" + std::string(best) + "'?";
  return text + "; --help lists the right ones";
}

}  // namespace

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

std::string explain(const CLI::App& program, const CLI::ParseError& error,
                    const std::vector<std::string>& arguments) {
  const CLI::App* command = &program;
  std::string path;
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    const std::string word = argument.substr(0, argument.find('='));
    if (word.starts_with("--")) {
      const std::vector<std::string> names = option_names(*command);
      if (std::ranges::find(names, word) == names.end()) return unknown("option", word, names);
    } else if (!command->get_subcommands({}).empty()) {
      const std::vector<std::string> names = command_names(*command);
      if (std::ranges::find(names, word) == names.end())
        return unknown(path.empty() ? "command" : path + " command", word, names);
      command = command->get_subcommand(word);
      path += (path.empty() ? "" : " ") + word;
    }
  }
  if (command == &program) return "no command given; plinth --help lists them";
  return path + ": " + one_line(error.what()) + " (plinth " + path + " --help)";
}

void DeviceOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "cpu, cuda or cuda:N")->capture_default_str();
  add_threads_to(command);
}

void DeviceOptions::add_threads_to(CLI::App& command) {
  command.add_option("--threads", threads, "threads of the CPU; 0: all")
      ->check(whole_number(0, 4096));
}

Device DeviceOptions::apply() const {
  if (threads > 0) omp_set_num_threads(threads);
  const Device wanted = Device::parse(device);
  try {
    allocator(wanted);
    return wanted;
  } catch (const Error& error) {
    warn(std::string(error.what()) + "; using the CPU");
    return Device{};
  }
}

void warn(const std::string& text) {
  std::fflush(stdout);
  std::fprintf(stderr, "plinth: warning: %s\n", one_line(text).c_str());
}

}  // namespace plinth::apps
