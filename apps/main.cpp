// The `plinth` program: one line and exit status 2 for a user's mistake, 1 for work that failed,
// 130 for a run that was told to stop and has written its checkpoint; `plinth launch` has the
// status of the first rank that failed.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "apps/cli.h"
#include "apps/commands.h"
#include "core/error.h"
#include "core/version.h"

namespace plinth::apps {

namespace {

void add_commands(CLI::App& program) {
  program.set_version_flag("--version", "plinth " PLINTH_VERSION);
  program.require_subcommand(1);
  program.footer(
      "\nExample: plinth pretrain examples/demo/kjv.toml\nplinth COMMAND --help tells more of "
      "each.");
  add_pretrain(program);
  add_finetune(program);
  add_generate(program);
  add_eval(program);
  add_predict(program);
  add_embed(program);
  add_convert(program);
  add_tokenize(program);
  add_inspect(program);
  add_bench(program);
  add_launch(program);
  add_plan(program);
  add_memory(program);
  add_completion(program);
}

int report(const std::exception& error, int status) {
  std::fflush(stdout);
  std::fprintf(stderr, "plinth: %s\n", one_line(error.what()).c_str());
  return status;
}

int run(int argc, char** argv) {
  CLI::App program("Plinth pretrains, evaluates and inspects language models.", "plinth");
  add_commands(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& help) {  // --help, --version
    return program.exit(help);
  } catch (const CLI::ParseError& error) {
    return report(std::runtime_error(explain(program, error, {argv + 1, argv + argc})), 2);
  } catch (const ExitStatus& end) {
    return end.status();
  } catch (const Interrupted& stop) {
    return report(stop, 130);
  } catch (const Error& error) {
    return report(error, error.is_user_error() ? 2 : 1);
  } catch (const std::bad_alloc&) {
    return report(std::runtime_error("out of memory"), 1);
  } catch (const std::exception& error) {
    return report(error, 1);
  }
}

}  // namespace

}  // namespace plinth::apps

int main(int argc, char** argv) {
  return plinth::apps::run(argc, argv);
}
