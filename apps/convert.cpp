// plinth convert: a model, whether a directory, a checkpoint of many ranks or a file of another
// program's, as a directory in Hugging Face's layout or as such a file.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "apps/numbers.h"
#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "data/tokenizer/gguf_tokenizer.h"
#include "models/any_model.h"
#include "models/formats/gguf_model.h"
#include "models/formats/llmc_model.h"
#include "models/formats/model_file.h"
#include "models/formats/onnx_model.h"
#include "train/checkpoint/sharded.h"
#include "train/finetune/task_file.h"
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
const std::map<std::string, GgmlType> kGgufTypes = {{"float32", GgmlType::F32},
                                                    {"bfloat16", GgmlType::BF16},
                                                    {"float16", GgmlType::F16},
                                                    {"q8_0", GgmlType::Q8_0}};
const std::vector<std::string> kDTypeNames = {"float32", "bfloat16", "float16", "float64", "q8_0"};

// What goes with a model of a directory.
constexpr std::array<const char*, 12> kCopiedFiles = {"tokenizer.json",
                                                      "tokenizer.model",
                                                      "spiece.model",
                                                      "vocab.txt",
                                                      "vocab.json",
                                                      "merges.txt",
                                                      "tokenizer_config.json",
                                                      "normalizer.json",
                                                      "special_tokens_map.json",
                                                      "generation_config.json",
                                                      "preprocessor_config.json",
                                                      kTaskFile};

struct Source {
  AnyModel model;
  fs::path path;                      // of the file, or the directory
  std::optional<GgufFile> gguf = {};  // if it is one
};

// What `make` gives, or nothing, and a warning, for a tokenizer that cannot be carried over.
template <class Make>
auto tokenizer_or_warning(const Make& make) -> decltype(make()) {
  try {
    return make();
  } catch (const Error& error) {
    warn("without tokenizer: " + one_line(error.what()));
    return {};
  }
}

Source read_file(const fs::path& path) {
  switch (model_file_of(path)) {
    case ModelFile::Gguf: {
      GgufFile file = GgufFile::open(path);
      AnyModel model(load_gguf(file));
      return {std::move(model), path, std::move(file)};
    }
    case ModelFile::Llmc: return {AnyModel(load_llmc(LlmcFile::open(path))), path};
    case ModelFile::None: break;
  }
  throw Error(ErrorKind::Format, path.string(),
              "is no file of a model; takes a directory, a GGUF file or a checkpoint of llm.c");
}

Source read_source(const ConvertArguments& arguments) {
  if (fs::is_regular_file(arguments.model)) {
    check(!arguments.average, ErrorKind::Argument, "--average",
          "got a file, which has no moving average");
    return read_file(arguments.model);
  }
  const fs::path directory = model_directory(arguments.model);
  const std::string type = ConfigJson::read(directory / "config.json").text("model_type", "");
  const auto families = model_families();
  check(
      !arguments.average || std::ranges::find(families, type, &ModelFamily::type) != families.end(),
      ErrorKind::Argument, "--average", "got a ", type, ", takes a language model");
  const bool is_whole = !arguments.average && !ShardedCheckpoint::is_in(directory);
  if (is_whole) return {AnyModel::load(directory), directory};
  return {AnyModel(load_model(directory, arguments.average)), directory};
}

const LanguageModel& language_model(const Source& source, const fs::path& out) {
  const LanguageModel* model = source.model.language_model();
  if (!model)
    throw Error(ErrorKind::Argument, out.string(),
                detail::concat("model_type got ", source.model.type(),
                               ", files of this kind take language models"));
  return *model;
}

// Ids of tokens alone are settings of the model.
bool has_tokenizer(const GgufFile& file) {
  return file.find("tokenizer.ggml.model") != nullptr;
}

// What goes beside the weights, by name.
std::map<std::string, std::string> tokenizer_files(const Source& source) {
  if (source.gguf) {
    if (!has_tokenizer(*source.gguf)) return {};
    return tokenizer_or_warning([&] { return gguf_tokenizer_files(*source.gguf); });
  }
  std::map<std::string, std::string> files;
  for (const char* name : kCopiedFiles) {
    if (fs::is_directory(source.path) && fs::exists(source.path / name))
      files.emplace(name, read_text_file(source.path / name));
  }
  return files;
}

void write_directory(const Source& source, const ConvertArguments& arguments) {
  SaveOptions options;
  options.max_shard_bytes = static_cast<uint64_t>(arguments.shard_gib * (1 << 30));
  if (!arguments.dtype.empty()) {
    check(kDTypes.contains(arguments.dtype), ErrorKind::Argument, "--dtype", "got ",
          arguments.dtype, ", a directory takes float32, bfloat16, float16 or float64");
    options.dtype = kDTypes.at(arguments.dtype);
  }
  AtomicDirectory out(arguments.out);
  source.model.save(out.path(), options);
  for (const auto& [name, text] : tokenizer_files(source))
    write_file_atomically(out.path() / name, text);
  out.commit();
}

std::vector<GgufField> tokenizer_fields(const Source& source, int64_t vocab_size) {
  std::vector<GgufField> fields;
  if (source.gguf) {
    std::ranges::copy_if(
        source.gguf->fields(), std::back_inserter(fields),
        [](const GgufField& field) { return field.key.starts_with(kGgufTokenizer); });
    return fields;
  }
  if (!fs::is_directory(source.path) || !Tokenizer::is_in(source.path)) return fields;
  return tokenizer_or_warning(
      [&] { return gguf_fields(Tokenizer::load(source.path), vocab_size); });
}

void write_gguf(const Source& source, const ConvertArguments& arguments) {
  const std::string dtype = arguments.dtype.empty() ? "float32" : arguments.dtype;
  check(kGgufTypes.contains(dtype), ErrorKind::Argument, "--dtype", "got ", dtype,
        ", a GGUF file takes float32, bfloat16, float16 or q8_0");
  const fs::path out = arguments.out;
  const LanguageModel& model = language_model(source, out);
  save_gguf(model, tokenizer_fields(source, model.info().vocab_size), kGgufTypes.at(dtype),
            arguments.out);
}

void write_llmc(const Source& source, const ConvertArguments& arguments) {
  const std::string dtype = arguments.dtype.empty() ? "float32" : arguments.dtype;
  check(kDTypes.contains(dtype), ErrorKind::Argument, "--dtype", "got ", dtype,
        ", a checkpoint of llm.c takes float32 or bfloat16");
  save_llmc(language_model(source, arguments.out), kDTypes.at(dtype), arguments.out);
}

void write_onnx(const Source& source, const ConvertArguments& arguments) {
  check(arguments.dtype.empty() || arguments.dtype == "float32", ErrorKind::Argument, "--dtype",
        "got ", arguments.dtype, ", an ONNX file takes float32");
  save_onnx(language_model(source, arguments.out), arguments.out);
}

// By the name of what is to be made.
void write(const Source& source, const ConvertArguments& arguments) {
  const fs::path kind = fs::path(arguments.out).extension();
  if (kind == ".gguf") return write_gguf(source, arguments);
  if (kind == ".bin") return write_llmc(source, arguments);
  if (kind == ".onnx") return write_onnx(source, arguments);
  write_directory(source, arguments);
}

// No file is written over, as no directory is: whatever lies there is told of before the work.
void refuse_existing(const fs::path& out) {
  std::vector<fs::path> files;
  for (const char* kind : {".gguf", ".bin", ".onnx"}) {
    if (out.extension() == kind) files.push_back(out);
  }
  if (out.extension() == ".onnx") files.emplace_back(out.string() + ".data");
  for (const fs::path& file : files)
    check(!fs::exists(file), ErrorKind::Io, file.string(), "exists already");
}

void run(const ConvertArguments& arguments) {
  refuse_existing(arguments.out);
  const Source source = read_source(arguments);
  write(source, arguments);
  std::printf("%s: %s with %s parameters, from %s\n", arguments.out.c_str(),
              source.model.type().c_str(),
              format_count(static_cast<double>(source.model.parameter_count())).c_str(),
              source.path.c_str());
}

}  // namespace

void add_convert(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "convert", "write a model in Hugging Face's layout, or as a GGUF, ONNX or llm.c file");
  const auto arguments = std::make_shared<ConvertArguments>();
  command
      ->add_option("model", arguments->model,
                   "model, checkpoint or run directory; a GGUF file; a checkpoint of llm.c")
      ->required();
  command
      ->add_option("out", arguments->out,
                   "directory to make, or file: NAME.gguf, NAME.onnx, NAME.bin (llm.c's); one that "
                   "exists is refused")
      ->required();
  command->add_option("--dtype", arguments->dtype, "of the weights; default: float32")
      ->check(CLI::IsMember(kDTypeNames));
  command->add_option("--max-shard-gib", arguments->shard_gib, "the largest file, in GiB")
      ->check(real_number(1e-6, 1e6))
      ->capture_default_str();
  command->add_flag("--average", arguments->average,
                    "the moving average of the weights (train.ema_decay)");
  command->footer("\nExample: plinth convert runs/kjv kjv.gguf --dtype float16");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
