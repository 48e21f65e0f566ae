// plinth bench: times training steps and ops; with --serve, as a worker of bench/peers.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/bench_case.h"
#include "apps/bench/ceiling.h"
#include "apps/bench/statistics.h"
#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/numbers.h"
#include "apps/profile.h"
#include "core/allocator.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/version.h"
#include "train/logging/format.h"

namespace plinth::apps {

namespace {

using Json = nlohmann::ordered_json;

struct BenchArguments {
  std::string name;
  int64_t steps = 10;
  std::string dtype = "float32";
  bool json = false;
  bool serve = false;
  DeviceOptions device;
  ProfileOptions profile;
  Device placed;  // what `device` came to

  void add_common(CLI::App& command, const std::vector<std::string>& dtypes) {
    command.add_option("--steps", steps, "repetitions in all; the first (at most 3) warm up")
        ->check(whole_number(1))
        ->capture_default_str();
    command.add_option("--dtype", dtype, CLI::detail::join(dtypes))
        ->check(CLI::IsMember(dtypes))
        ->capture_default_str();
    command.add_flag("--json", json, "one JSON line");
    command.add_flag("--serve", serve,
                     "warm up, then for each line N of the input time N repetitions and answer one "
                     "JSON line");
    device.add_to(command);
    profile.add_to(command, "repetitions");
  }

  DType type() const {
    return dtype == "bfloat16"  ? DType::BFloat16
           : dtype == "float16" ? DType::Float16
                                : DType::Float32;
  }
};

struct TrainBenchArguments : BenchArguments {
  TrainBench train;
};

struct ModelBenchArguments : BenchArguments {
  ModelBench model;
};

struct OpBenchArguments : BenchArguments {
  OpSizes shape;
  std::string pass = "both";
  bool without_ceiling = false;
  bool explain = false;

  BenchPass passes() const {
    return pass == "forward"    ? BenchPass::Forward
           : pass == "backward" ? BenchPass::Backward
                                : BenchPass::Both;
  }
};

using Series = std::map<std::string, std::vector<double>>;

constexpr int kWarmUp = 3;

Series measure(BenchCase& bench, int64_t repetitions) {
  Series series;
  for (int64_t i = 0; i < repetitions; ++i) {
    const OpScope scope("repetition", ScopeKind::Phase);
    bench.prepare();
    for (const auto& [part, milliseconds] : bench.run()) series[part].push_back(milliseconds);
  }
  return series;
}

void print_json(const Json& json) {
  std::cout << json_text(json) << std::endl;  // a line at a time, however the output is buffered
}

// The protocol of bench/peers: a ready line, then a line of times for each line N.
void serve(BenchCase& bench) {
  measure(bench, kWarmUp);
  print_json({{"ready", true}, {"version", PLINTH_VERSION}});
  for (std::string line; std::getline(std::cin, line);) {
    char* end = nullptr;
    const long count = std::strtol(line.c_str(), &end, 10);
    check(end != line.c_str() && count > 0, ErrorKind::Argument, "bench --serve", "got the line '",
          line, "', takes a number of repetitions");
    measure(bench, 1);
    print_json(Json(measure(bench, count)));
  }
}

Series warm_series(const BenchArguments& arguments, BenchCase& bench) {
  ProfiledRun profiled(arguments.profile, "repetition");
  const int64_t warm_up = std::min<int64_t>(kWarmUp, arguments.steps - 1);
  measure(bench, warm_up);
  Series series = measure(bench, arguments.steps - warm_up);
  profiled.finish();
  return series;
}

int64_t peak_bytes(const BenchArguments& arguments) {
  return allocator(arguments.placed).stats().peak_allocated;
}

// ---- training steps ----

void report_train(const BenchArguments& arguments, const BenchCase& bench, const Series& series) {
  const std::vector<double>& times = series.at("step_ms");
  const double tokens = 1e3 * static_cast<double>(bench.tokens()) / median(times);
  const double flops = 1e3 * bench.flops() / median(times);
  if (arguments.json) {
    print_json({{"bench", arguments.name},
                {"dtype", arguments.dtype},
                {"step_ms", times},
                {"median_step_ms", median(times)},
                {"tokens_per_s", tokens},
                {"flops_per_s", flops},
                {"device", to_string(arguments.placed)},
                {"peak_bytes", peak_bytes(arguments)},
                {"version", PLINTH_VERSION}});
    return;
  }
  const auto [least, most] = std::ranges::minmax(times);
  std::printf("train step: median %.3f ms of %zu, from %.3f to %.3f, %s tokens/s, %.1f GFLOP/s\n",
              median(times), times.size(), least, most, format_count(tokens).c_str(), 1e-9 * flops);
  std::printf("peak memory of tensors: %s\n",
              format_bytes(static_cast<uint64_t>(peak_bytes(arguments))).c_str());
}

void report_model(const BenchArguments& arguments, const Series& series) {
  const std::vector<double>& times = series.at("step_ms");
  if (arguments.json) {
    print_json({{"bench", arguments.name},
                {"step_ms", times},
                {"median_step_ms", median(times)},
                {"device", to_string(arguments.placed)},
                {"peak_bytes", peak_bytes(arguments)},
                {"version", PLINTH_VERSION}});
    return;
  }
  const auto [least, most] = std::ranges::minmax(times);
  std::printf("train step: median %.3f ms of %zu, from %.3f to %.3f\n", median(times), times.size(),
              least, most);
}

// ---- ops ----

std::string joined(const OpSizes& sizes, const char* separator) {
  std::string text;
  for (const int64_t size : sizes) text += (text.empty() ? "" : separator) + std::to_string(size);
  return text;
}

std::string pass_of(const std::string& part) {
  return part.substr(0, part.find("_ms"));
}

// In the order in which they run.
constexpr const char* kParts[] = {"forward_ms", "backward_ms"};

// A row of bench/results, without peers.
Json row_of(const OpBenchArguments& arguments, const std::string& part,
            const std::vector<double>& times, const PassCost& cost, const Ceiling* ceiling) {
  Json row = {{"name", arguments.name},      {"shape", joined(arguments.shape, "x")},
              {"dtype", arguments.dtype},    {"pass", pass_of(part)},
              {"ours_ms", median(times)},    {"spread", spread(times)},
              {"ceiling_fraction", nullptr}, {"bytes", cost.bytes},
              {"flops", cost.flops}};
  if (!ceiling || cost.bytes == 0) return row;
  const Bound bound = bound_of(cost, median(times), *ceiling);
  row["ceiling_fraction"] = bound.fraction;
  row["bound"] = bound.by_bytes ? "bytes" : "flops";
  return row;
}

void report_op_json(const OpBenchArguments& arguments, const OpCase& bench, const Series& series,
                    const Ceiling* ceiling) {
  Json json = {{"device", to_string(arguments.placed)},
               {"version", PLINTH_VERSION},
               {"peak_bytes", peak_bytes(arguments)}};
  if (ceiling)
    json["ceiling"] = {{"bytes_per_s", ceiling->bytes_per_s},
                       {"flops_per_s", ceiling->flops_per_s}};
  for (const char* part : kParts) {
    if (series.contains(part))
      json["rows"].push_back(row_of(arguments, part, series.at(part), bench.cost(part), ceiling));
  }
  print_json(json);
}

void report_op_text(const OpBenchArguments& arguments, const OpCase& bench, const Series& series,
                    const Ceiling* ceiling) {
  std::printf("%s %s %s on %s, operands %s\n", arguments.name.c_str(),
              joined(arguments.shape, ",").c_str(), arguments.dtype.c_str(),
              to_string(arguments.placed).c_str(),
              arguments.placed.is_cuda() ? "not in the second cache" : "as the caches hold them");
  for (const char* part : kParts) {
    if (!series.contains(part)) continue;
    const std::vector<double>& times = series.at(part);
    const PassCost cost = bench.cost(part);
    const double time = median(times);
    std::printf("  %-8s  median %.4f ms of %zu, spread %.1f %%", pass_of(part).c_str(), time,
                times.size(), 100 * spread(times));
    if (cost.bytes > 0)
      std::printf(", %.1f GB/s, %.3f TFLOP/s", 1e-6 * cost.bytes / time, 1e-9 * cost.flops / time);
    if (ceiling && cost.bytes > 0) {
      const Bound bound = bound_of(cost, time, *ceiling);
      std::printf(", %.0f %% of the ceiling (%s)", 100 * bound.fraction,
                  bound.by_bytes ? "bytes" : "operations");
    }
    std::printf("\n");
  }
  if (ceiling)
    std::printf("  ceilings  %.1f GB/s of a copy, %.3f TFLOP/s of a %s product\n",
                1e-9 * ceiling->bytes_per_s, 1e-12 * ceiling->flops_per_s, arguments.dtype.c_str());
}

void explain_op(const OpBenchArguments& arguments, const OpBench& op, TensorOptions options) {
  check_shape(op, arguments.shape);
  std::printf("%s %s %s on %s: %s\n", arguments.name.c_str(), joined(arguments.shape, ",").c_str(),
              arguments.dtype.c_str(), to_string(arguments.placed).c_str(),
              op.explain(arguments.shape, options).c_str());
}

void run_op(const OpBenchArguments& arguments, OpCase& bench) {
  if (arguments.serve) return serve(bench);
  const Series series = warm_series(arguments, bench);
  Ceiling ceiling;
  if (!arguments.without_ceiling) ceiling = measure_ceiling(arguments.type(), arguments.placed);
  const Ceiling* const known = arguments.without_ceiling ? nullptr : &ceiling;
  if (arguments.json) {
    report_op_json(arguments, bench, series, known);
  } else {
    report_op_text(arguments, bench, series, known);
  }
}

// ---- the commands ----

void add_train(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("train", "whole training steps on random tokens");
  const auto arguments = std::make_shared<TrainBenchArguments>();
  arguments->name = "train";
  ModelSize& size = arguments->train.size;
  size.vocab_size = 8192;
  command->add_option("--model", size.type, "gpt2 (or gpt) or llama")->capture_default_str();
  const auto add_size = [command](const char* name, int64_t& size, int64_t least, int64_t most,
                                  const char* help) {
    command->add_option(name, size, help)->check(whole_number(least, most))->capture_default_str();
  };
  add_size("--layers", size.layers, 1, 1 << 16, "transformer blocks");
  add_size("--dim", size.dim, 1, 1 << 20, "width of the model");
  add_size("--heads", size.heads, 1, 1 << 16, "attention heads");
  add_size("--kv-heads", size.kv_heads, 0, 1 << 16, "heads of keys and values; 0: as many");
  add_size("--seq", size.context, 1, 1 << 24, "tokens of a sequence");
  add_size("--vocab", size.vocab_size, 1, 1 << 24, "size of the vocabulary");
  command->add_option("--batch", arguments->train.batch, "sequences of a step")
      ->check(batch_size())
      ->capture_default_str();
  command->add_option("--micro-batch", arguments->train.micro_batch, "sequences at once; 0: all")
      ->check(whole_number(0, 1 << 24));
  command->add_flag("--activation-checkpointing", arguments->train.activation_checkpointing,
                    "compute activations again in backward");
  arguments->add_common(*command, {"float32", "bfloat16"});
  command->footer(
      "\nExample: plinth bench train --layers 4 --dim 256 --heads 8 --seq 256 --batch 8");
  command->callback([arguments] {
    arguments->placed = arguments->device.apply();
    TrainBench& train = arguments->train;
    train.device = arguments->placed;
    if (train.size.type == "gpt") train.size.type = "gpt2";
    train.precision = arguments->type();
    const std::unique_ptr<BenchCase> bench = make_train_case(train);
    if (arguments->serve) return serve(*bench);
    report_train(*arguments, *bench, warm_series(*arguments, *bench));
  });
}

void add_model(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("model", "whole training steps of a model of any family");
  const auto arguments = std::make_shared<ModelBenchArguments>();
  arguments->name = "model";
  ModelBench& model = arguments->model;
  command->add_option("config", model.config, "a config.json, or the directory that has it")
      ->required();
  command->add_option("--batch", model.batch, "examples of a step")
      ->check(batch_size())
      ->capture_default_str();
  command->add_option("--seq", model.time, "tokens of a text")
      ->check(whole_number(1, 1 << 24))
      ->capture_default_str();
  arguments->add_common(*command, {"float32"});
  command->footer("\nExample: plinth bench model my-bert --batch 8 --seq 128");
  command->callback([arguments] {
    arguments->placed = arguments->device.apply();
    arguments->model.device = arguments->placed;
    const std::unique_ptr<BenchCase> bench = make_model_case(arguments->model);
    if (arguments->serve) return serve(*bench);
    report_model(*arguments, warm_series(*arguments, *bench));
  });
}

void add_op(CLI::App& bench, const OpBench& op) {
  CLI::App* command = bench.add_subcommand(
      std::string(op.name), op.make ? "the op alone, forward and backward" : "the step alone");
  const auto arguments = std::make_shared<OpBenchArguments>();
  arguments->name = op.name;
  arguments->shape = op.default_shape;
  command->add_option("--shape", arguments->shape, std::string(op.dimensions))
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--pass", arguments->pass, "forward, backward or both")
      ->check(CLI::IsMember({"forward", "backward", "both"}))
      ->capture_default_str();
  command->add_flag("--no-ceiling", arguments->without_ceiling,
                    "do not measure the device's copy and product");
  if (op.explain)
    command->add_flag("--explain", arguments->explain,
                      "say which kernel serves the shape, dtype and device, and why; time nothing");
  arguments->add_common(*command, {"float32", "bfloat16", "float16"});
  command->footer("\nExample: plinth bench " + arguments->name + " --shape " +
                  joined(op.default_shape, ","));
  command->callback([arguments, &op] {
    arguments->placed = arguments->device.apply();
    const TensorOptions options{arguments->type(), arguments->placed};
    if (arguments->explain) return explain_op(*arguments, op, options);
    run_op(*arguments, *make_op_case(op, arguments->shape, arguments->passes(), options));
  });
}

void list_ops() {
  for (const OpBench& op : op_benches())
    std::printf("%-21s %-38s %s\n", std::string(op.name).c_str(),
                std::string(op.dimensions).c_str(), joined(op.default_shape, ",").c_str());
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "time training steps and ops");
  const auto list = std::make_shared<bool>(false);
  bench->add_flag("--list", *list, "name every op, with what --shape holds and its default");
  bench->footer("\nExample: plinth bench attention --shape 8,8,256,32 --json");
  add_train(*bench);
  add_model(*bench);
  for (const OpBench& op : op_benches()) add_op(*bench, op);
  bench->callback([bench, list] {
    if (*list) return list_ops();
    check(!bench->get_subcommands().empty(), ErrorKind::Argument, "bench",
          "takes a command: train, model, or an op of plinth bench --list");
  });
}

}  // namespace plinth::apps
