// plinth embed: a vector for each sentence.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "apps/numbers.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "data/tasks/bert_encoder.h"
#include "models/bert/sentence_embedding.h"

namespace plinth::apps {

namespace {

struct EmbedArguments {
  std::string model;
  int64_t max_length = 256;
  int64_t batch = 32;
  bool raw = false;
  DeviceOptions device;
};

struct Rows {
  Tensor ids;
  BertInputs inputs;
};

Rows rows_of(const std::vector<std::string>& texts, const BertEncoder& encoder, Device device) {
  std::vector<std::vector<int32_t>> encoded;
  std::vector<int64_t> lengths;
  for (const std::string& text : texts) {
    encoded.push_back(encoder.encode(text).ids);
    lengths.push_back(std::ssize(encoded.back()));
  }
  const int64_t width = std::ranges::max(lengths);
  const auto rows = static_cast<int64_t>(texts.size());
  std::vector<int64_t> ids(static_cast<size_t>(rows * width), encoder.padding());
  for (int64_t row = 0; row < rows; ++row)
    std::ranges::copy(encoded[static_cast<size_t>(row)], ids.begin() + row * width);
  return {from_values(ids, {rows, width}).to(device),
          {.lengths = from_values(lengths, {rows}).to(device)}};
}

void print_vectors(const Tensor& vectors) {
  const std::vector<double> values = to_vector(vectors);
  const auto width = static_cast<size_t>(vectors.size(1));
  for (size_t i = 0; i < values.size(); ++i)
    std::printf("%s%.9g%s", i % width == 0 ? "[" : ", ", values[i],
                i % width == width - 1 ? "]\n" : "");
  std::fflush(stdout);
}

void run(const EmbedArguments& arguments) {
  const Device device = arguments.device.apply();
  const std::filesystem::path directory = model_directory(arguments.model);
  const std::unique_ptr<LanguageModel> model = load_pretrained(directory);
  auto* const bert = dynamic_cast<Bert*>(model.get());
  check(bert != nullptr, ErrorKind::Argument, "embed", "got a ", model->info().type,
        ", takes a bert");
  bert->to(device);
  bert->eval();
  const NoGradGuard no_grad;
  const Tokenizer tokenizer = Tokenizer::load(directory);
  const BertEncoder encoder(tokenizer, std::min(arguments.max_length, bert->info().context));
  std::vector<std::string> texts;
  const auto embed = [&] {
    if (texts.empty()) return;
    const Rows rows = rows_of(texts, encoder, device);
    print_vectors(sentence_embeddings(*bert, rows.ids, rows.inputs, !arguments.raw));
    texts.clear();
  };
  for (std::string line; std::getline(std::cin, line);) {
    if (line.ends_with('\r')) line.pop_back();
    texts.push_back(line);
    if (std::ssize(texts) == arguments.batch) embed();
  }
  embed();
}

}  // namespace

void add_embed(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "embed", "a vector for each line of standard input: the mean over its tokens (bert)");
  const auto arguments = std::make_shared<EmbedArguments>();
  command->add_option("model", arguments->model, "model or run directory")->required();
  command->add_option("--max-length", arguments->max_length, "tokens of a line")
      ->check(whole_number(5, 1 << 16))
      ->capture_default_str();
  command->add_option("--batch", arguments->batch, "lines at once")
      ->check(batch_size())
      ->capture_default_str();
  command->add_flag("--raw", arguments->raw, "the mean as it is, not at length 1");
  arguments->device.add_to(*command);
  command->footer("\nExample: plinth embed all-MiniLM-L6-v2 < sentences.txt");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
