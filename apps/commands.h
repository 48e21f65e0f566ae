#pragma once

// The commands of the `plinth` program. Each function adds one, with its options and help, to the
// program; the command runs when the arguments have been parsed.

namespace CLI {
class App;
}

namespace plinth::apps {

void add_pretrain(CLI::App& program);
void add_finetune(CLI::App& program);
void add_generate(CLI::App& program);
void add_eval(CLI::App& program);
void add_predict(CLI::App& program);
void add_embed(CLI::App& program);
void add_convert(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_inspect(CLI::App& program);
void add_bench(CLI::App& program);
void add_launch(CLI::App& program);
void add_plan(CLI::App& program);
void add_memory(CLI::App& program);
void add_completion(CLI::App& program);

}  // namespace plinth::apps
