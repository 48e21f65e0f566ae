// plinth bench: times training steps and ops; with --serve, as a worker of bench/peers.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/bench_case.h"
#include "apps/cli.h"
#include "apps/commands.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/version.h"
#include "train/logging/format.h"

namespace plinth::apps {

namespace {

struct BenchArguments {
  std::string name;
  int64_t steps = 10;
  std::string dtype = "float32";
  bool json = false;
  bool serve = false;
  DeviceOptions device;
  Device placed;  // what `device` came to
  std::vector<int64_t> shape;
  TrainBench train;

  void add_common(CLI::App& command) {
    command.add_option("--steps", steps, "repetitions in all; the first (at most 3) warm up")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command.add_option("--dtype", dtype, "float32 or bfloat16")
        ->check(CLI::IsMember({"float32", "bfloat16"}))
        ->capture_default_str();
    command.add_flag("--json", json, "one JSON line");
    command.add_flag("--serve", serve,
                     "warm up, then for each line N of the input time N repetitions and answer one "
                     "JSON line");
    device.add_to(command);
  }

  DType type() const { return dtype == "bfloat16" ? DType::BFloat16 : DType::Float32; }
};

using Series = std::map<std::string, std::vector<double>>;

constexpr int kWarmUp = 3;

Series measure(BenchCase& bench, int64_t repetitions) {
  Series series;
  for (int64_t i = 0; i < repetitions; ++i) {
    bench.prepare();
    for (const auto& [part, milliseconds] : bench.run()) series[part].push_back(milliseconds);
  }
  return series;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void print(const nlohmann::ordered_json& json) {
  std::cout << json.dump() << std::endl;  // a line at a time, however the output is buffered
}

// The protocol of bench/peers: a ready line, then a line of times for each line N.
void serve(BenchCase& bench) {
  measure(bench, kWarmUp);
  print({{"ready", true}, {"version", PLINTH_VERSION}});
  for (std::string line; std::getline(std::cin, line);) {
    char* end = nullptr;
    const long count = std::strtol(line.c_str(), &end, 10);
    check(end != line.c_str() && count > 0, ErrorKind::Argument, "bench --serve", "got the line '",
          line, "', takes a number of repetitions");
    measure(bench, 1);
    print(nlohmann::ordered_json(measure(bench, count)));
  }
}

void report_json(const BenchArguments& arguments, const BenchCase& bench, const Series& series) {
  nlohmann::ordered_json json;
  json["bench"] = arguments.name;
  json["dtype"] = arguments.dtype;
  for (const auto& [part, times] : series) {
    json[part] = times;
    json["median_" + part] = median(times);
    if (bench.tokens()) json["tokens_per_s"] = 1e3 * bench.tokens() / median(times);
    if (bench.flops() > 0) json["flops_per_s"] = 1e3 * bench.flops() / median(times);
  }
  json["device"] = to_string(arguments.placed);
  json["peak_bytes"] = allocator(arguments.placed).stats().peak_allocated;
  json["version"] = PLINTH_VERSION;
  print(json);
}

void report_text(const BenchArguments& arguments, const BenchCase& bench, const Series& series) {
  for (const auto& [part, times] : series) {
    const auto [least, most] = std::ranges::minmax(times);
    std::printf("%s %s: median %.3f ms of %zu, from %.3f to %.3f", arguments.name.c_str(),
                part.substr(0, part.find("_ms")).c_str(), median(times), times.size(), least, most);
    if (bench.tokens())
      std::printf(", %s tokens/s", format_count(1e3 * bench.tokens() / median(times)).c_str());
    if (bench.flops() > 0) std::printf(", %.1f GFLOP/s", 1e-6 * bench.flops() / median(times));
    std::printf("\n");
  }
  const auto peak = static_cast<uint64_t>(allocator(arguments.placed).stats().peak_allocated);
  std::printf("peak memory of tensors: %s\n", format_bytes(peak).c_str());
}

void run(const BenchArguments& arguments, BenchCase& bench) {
  if (arguments.serve) return serve(bench);
  const int64_t warm_up = std::min<int64_t>(kWarmUp, arguments.steps - 1);
  measure(bench, warm_up);
  const Series series = measure(bench, arguments.steps - warm_up);
  if (arguments.json) {
    report_json(arguments, bench, series);
  } else {
    report_text(arguments, bench, series);
  }
}

void add_train(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("train", "whole training steps on random tokens");
  const auto arguments = std::make_shared<BenchArguments>();
  arguments->name = "train";
  ModelSize& size = arguments->train.size;
  size.vocab_size = 8192;
  command->add_option("--model", size.type, "gpt2 (or gpt) or llama")->capture_default_str();
  command->add_option("--layers", size.layers, "transformer blocks")->capture_default_str();
  command->add_option("--dim", size.dim, "width of the model")->capture_default_str();
  command->add_option("--heads", size.heads, "attention heads")->capture_default_str();
  command->add_option("--kv-heads", size.kv_heads, "heads of keys and values; 0: as many")
      ->capture_default_str();
  command->add_option("--seq", size.context, "tokens of a sequence")->capture_default_str();
  command->add_option("--batch", arguments->train.batch, "sequences of a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--micro-batch", arguments->train.micro_batch, "sequences at once; 0: all");
  command->add_option("--vocab", size.vocab_size, "size of the vocabulary")->capture_default_str();
  command->add_flag("--activation-checkpointing", arguments->train.activation_checkpointing,
                    "compute activations again in backward");
  arguments->add_common(*command);
  command->footer(
      "\nExample: plinth bench train --layers 4 --dim 256 --heads 8 --seq 256 --batch 8");
  command->callback([arguments] {
    arguments->placed = arguments->device.apply();
    TrainBench& train = arguments->train;
    train.device = arguments->placed;
    if (train.size.type == "gpt") train.size.type = "gpt2";
    train.precision = arguments->type();
    run(*arguments, *make_train_case(train));
  });
}

void add_op(CLI::App& bench, const OpBench& op) {
  CLI::App* command =
      bench.add_subcommand(std::string(op.name), "the op alone, forward and backward");
  const auto arguments = std::make_shared<BenchArguments>();
  arguments->name = op.name;
  arguments->shape = op.default_shape;
  command->add_option("--shape", arguments->shape, std::string(op.dimensions))
      ->delimiter(',')
      ->capture_default_str();
  arguments->add_common(*command);
  std::string shape;
  for (const int64_t size : op.default_shape)
    shape += (shape.empty() ? "" : ",") + std::to_string(size);
  command->footer("\nExample: plinth bench " + arguments->name + " --shape " + shape);
  command->callback([arguments, &op] {
    arguments->placed = arguments->device.apply();
    run(*arguments, *make_op_case(op, arguments->shape, {arguments->type(), arguments->placed}));
  });
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "time training steps and ops");
  bench->require_subcommand(1);
  bench->footer("\nExample: plinth bench attention --shape 8,8,256,32 --json");
  add_train(*bench);
  for (const OpBench& op : op_benches()) add_op(*bench, op);
}

}  // namespace plinth::apps
