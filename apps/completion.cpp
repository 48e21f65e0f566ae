// plinth completion: scripts that complete its words in a shell, made from the commands themselves.

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "apps/commands.h"

namespace plinth::apps {

namespace {

std::string join(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

// What may follow a command: its own commands and options.
std::vector<std::string> words_of(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::App* child : command.get_subcommands({})) words.push_back(child->get_name());
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  return words;
}

struct CommandWords {
  std::string path;  // "bench train"
  std::vector<std::string> words;
};

void collect(const CLI::App& command, const std::string& path, std::vector<CommandWords>& all) {
  all.push_back({path, words_of(command)});
  for (const CLI::App* child : command.get_subcommands({}))
    collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), all);
}

std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string script =
      "_plinth() {\n"
      "  local word path=\"\" words=\"\" current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"${path:+$path }$word\" in\n";
  for (const CommandWords& command : commands) {
    if (!command.path.empty())
      script += "      '" + command.path + "') path='" + command.path + "' ;;\n";
  }
  script += "    esac\n  done\n  case \"$path\" in\n";
  for (const CommandWords& command : commands)
    script += "    '" + command.path + "') words='" + join(command.words) + "' ;;\n";
  script +=
      "  esac\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "  [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
      "}\n"
      "complete -o filenames -F _plinth plinth\n";
  return script;
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  return "#compdef plinth\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script(commands);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string script;
  for (const CommandWords& command : commands) {
    std::string condition;
    for (size_t begin = 0; begin < command.path.size();) {
      const size_t end = std::min(command.path.find(' ', begin), command.path.size());
      condition += (condition.empty() ? "" : "; and ") +
                   ("__fish_seen_subcommand_from " + command.path.substr(begin, end - begin));
      begin = end + 1;
    }
    if (condition.empty()) condition = "__fish_use_subcommand";
    for (const std::string& word : command.words) {
      const std::string what = word.starts_with("--") ? "-l " + word.substr(2) : "-a " + word;
      script += "complete -c plinth -n '" + condition + "' " + what + "\n";
    }
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("completion", "print a script that completes plinth's words");
  const auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer("\nExample: source <(plinth completion bash)");
  command->callback([shell, &program] {
    std::vector<CommandWords> commands;
    collect(program, "", commands);
    std::cout << (*shell == "bash"  ? bash_script(commands)
                  : *shell == "zsh" ? zsh_script(commands)
                                    : fish_script(commands));
  });
}

}  // namespace plinth::apps
