// plinth convert: a checkpoint, sharded or not, as a directory in Hugging Face's layout.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "models/vision/image_model.h"
#include "train/logging/format.h"

namespace plinth::apps {

namespace {

namespace fs = std::filesystem;

struct ConvertArguments {
  std::string model, out;
  std::string dtype;
  double shard_gib = 5;
  bool average = false;
};

const std::map<std::string, DType> kDTypes = {{"float32", DType::Float32},
                                              {"bfloat16", DType::BFloat16},
                                              {"float16", DType::Float16},
                                              {"float64", DType::Float64}};

// What was written, for the last line.
struct Written {
  std::string type;
  int64_t parameters;
};

Written write_model(const fs::path& from, const fs::path& to, const SaveOptions& options,
                    bool average) {
  if (is_image_model(ConfigJson::read(from / "config.json"))) {
    check(!average, ErrorKind::Argument, "--average", "got a model of images, which has none");
    const std::unique_ptr<ImageModel> model = load_image_model(from);
    save_image_model(*model, to, options);
    return {std::string(model->type()), model->parameter_count()};
  }
  const std::unique_ptr<LanguageModel> model = load_model(from, average);
  save_pretrained(*model, to, options);
  return {std::string(model->info().type), model->parameter_count()};
}

void run(const ConvertArguments& arguments) {
  const fs::path directory = model_directory(arguments.model);
  SaveOptions options;
  options.max_shard_bytes = static_cast<uint64_t>(arguments.shard_gib * (1 << 30));
  if (!arguments.dtype.empty()) options.dtype = kDTypes.at(arguments.dtype);
  AtomicDirectory out(arguments.out);
  const Written written = write_model(directory, out.path(), options, arguments.average);
  for (const char* name : {"tokenizer.json", "tokenizer.model", "spiece.model",
                           "tokenizer_config.json", "preprocessor_config.json"}) {
    if (fs::exists(directory / name))
      write_file_atomically(out.path() / name, read_text_file(directory / name));
  }
  out.commit();
  std::printf("%s: %s with %s parameters, from %s\n", arguments.out.c_str(), written.type.c_str(),
              format_count(static_cast<double>(written.parameters)).c_str(), directory.c_str());
}

}  // namespace

void add_convert(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "convert", "write a checkpoint, of however many ranks, in Hugging Face's layout");
  const auto arguments = std::make_shared<ConvertArguments>();
  command->add_option("model", arguments->model, "model, checkpoint or run directory")->required();
  command->add_option("out", arguments->out, "directory to make")->required();
  command->add_option("--dtype", arguments->dtype, "of the weights; default: as they are")
      ->check(CLI::IsMember(kDTypes));
  command->add_option("--max-shard-gib", arguments->shard_gib, "the largest file, in GiB")
      ->check(CLI::Range(1e-6, 1e6))
      ->capture_default_str();
  command->add_flag("--average", arguments->average,
                    "the moving average of the weights (train.ema_decay)");
  command->footer("\nExample: plinth convert runs/kjv kjv-hf");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
