// plinth plan: how to lay out the training of a model on many GPUs, by a model of what it costs.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/numbers.h"
#include "apps/plan/model.h"
#include "apps/plan/pretrain_plans.h"
#include "apps/plan/report.h"
#include "core/error.h"
#include "core/io/file.h"

namespace plinth::apps {

namespace {

struct PlanArguments {
  RunFile file;
  std::string model;
  std::string gpu = "h200";
  std::string precision = "bfloat16";
  std::string attention;  // empty: the GPU's best
  std::string svg;
  int64_t gpus = 0;
  int64_t batch = 0;
  int64_t sequence = 0;
  size_t top = 10;
  bool json = false;
  bool validate = false;
  bool calibrate = false;
};

plan::Attention attention(const std::string& word, bool is_hopper) {
  if (word == "unfused") return plan::Attention::Unfused;
  if (word == "flash2" || (word.empty() && !is_hopper)) return plan::Attention::Flash2;
  return plan::Attention::Flash3;
}

// The default of the GPU if none was named.
plan::Attention attention_on(const plan::Gpu& gpu, const PlanArguments& arguments) {
  const bool is_hopper = gpu.float8_flops > 0;
  check(is_hopper || arguments.attention != "flash3", ErrorKind::Argument, "--attention",
        "flash3 takes a Hopper GPU, and ", arguments.gpu, " is none; flash2 runs there");
  return attention(arguments.attention, is_hopper);
}

PlanQuestion question_of(const PlanArguments& arguments) {
  check(!arguments.model.empty() && arguments.gpus > 0 && arguments.batch > 0 &&
            arguments.sequence > 0,
        ErrorKind::Argument, "plan",
        "takes a run's TOML file and --gpus; or --model, --gpus, --batch and --seq; or --validate");
  PlanQuestion question;
  question.gpu = &plan::find_gpu(arguments.gpu);
  question.gpus = arguments.gpus;
  question.work.model = planned_model(arguments.model);
  question.work.sequence = arguments.sequence;
  question.work.global_batch = arguments.batch;
  question.work.software.attention = attention_on(*question.gpu, arguments);
  if (arguments.precision == "float8") {
    check(question.gpu->float8_flops > 0, ErrorKind::Argument, "--precision", arguments.gpu,
          " has no float8 products");
    question.work.precision = plan::Precision::Float8;
  }
  return question;
}

void plan_job(const PlanArguments& arguments) {
  const PlanQuestion question = question_of(arguments);
  const plan::SearchResult result =
      plan::search(*question.gpu, question.work, question.gpus, arguments.top);
  check(!result.plans.empty(), ErrorKind::Argument, "plan", "none of ", result.tried,
        " layouts fits into a GPU's memory; the smallest takes ",
        static_cast<int64_t>(result.least_bytes / (1 << 30)) + 1, " GiB");
  if (!arguments.svg.empty()) {
    AtomicFile file(arguments.svg);
    file.write(plan_svg(question, result));
    file.commit();
  }
  const std::string text =
      arguments.json ? plan_json(question, result) : plan_table(question, result);
  std::fputs(text.c_str(), stdout);
}

void plan_run(const PlanArguments& arguments) {
  check(arguments.gpus > 0, ErrorKind::Argument, "plan", "takes --gpus with a run's TOML file");
  const plan::Gpu& gpu = plan::find_gpu(arguments.gpu);
  const PretrainPlans answer = pretrain_plans(arguments.file, gpu, arguments.gpus, arguments.top,
                                              attention_on(gpu, arguments));
  const int64_t least = answer.least_bytes;
  check(!answer.plans.empty(), ErrorKind::Argument, "plan", "none of the ", answer.dry_runs,
        " fastest layouts ",
        least == 0 ? std::string("can be run by plinth pretrain")
                   : detail::concat("fits into a GPU's memory; the smallest takes ",
                                    (least >> 30) + 1, " GiB"));
  const std::string text =
      arguments.json ? pretrain_plans_json(answer) : pretrain_plans_table(answer, arguments.file);
  std::fputs(text.c_str(), stdout);
}

void run(const PlanArguments& arguments) {
  if (arguments.calibrate) {
    const plan::Calibration best = plan::calibrate();
    std::printf("product %.3f\nmemory  %.3f\n", best.product, best.memory);
  } else if (arguments.validate) {
    std::fputs((arguments.json ? validation_json() : validation_table()).c_str(), stdout);
  } else if (!arguments.file.path.empty()) {
    plan_run(arguments);
  } else {
    plan_job(arguments);
  }
}

}  // namespace

void add_plan(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "plan", "lay out the training of a model on many GPUs, by predicted step times");
  const auto arguments = std::make_shared<PlanArguments>();
  PlanArguments& a = *arguments;
  CLI::Option* file = command->add_option(
      "config", a.file.path,
      "TOML file, as plinth pretrain takes it: plans for that run, their memory from dry runs");
  command->add_option("overrides", a.file.overrides, "key=value, in place of the file's");
  command
      ->add_option("--model", a.model,
                   "config.json, a directory with one, or a name such as gpt3-175b")
      ->excludes(file);
  command->add_option("--gpus", a.gpus, "GPUs of the job")->check(whole_number(1, 1 << 20));
  command->add_option("--gpu", a.gpu, "a100-80gb, h100 or h200")->capture_default_str();
  command->add_option("--batch", a.batch, "sequences of a step")
      ->check(whole_number(1, 1 << 30))
      ->excludes(file);
  command->add_option("--seq", a.sequence, "tokens of a sequence")
      ->check(whole_number(1, 1 << 24))
      ->excludes(file);
  command->add_option("--precision", a.precision, "of linear layers: bfloat16 or float8")
      ->excludes(file)
      ->check(CLI::IsMember({"bfloat16", "float8"}))
      ->capture_default_str();
  command
      ->add_option("--attention", a.attention,
                   "flash2, flash3 or unfused; if not given, flash3 on Hopper, else flash2")
      ->check(CLI::IsMember({"flash2", "flash3", "unfused"}));
  command->add_option("--top", a.top, "plans to show")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", a.json, "one JSON object");
  command->add_option("--svg", a.svg, "write a picture of the plans to this file")->excludes(file);
  CLI::Option* validate =
      command->add_flag("--validate", a.validate, "published steps beside their predictions");
  command->add_flag("--calibrate", a.calibrate, "fit the two numbers that are fitted")
      ->excludes(validate);
  command->footer(
      "\nExample: plinth plan train.toml --gpus 64 --gpu h200\n"
      "     or: plinth plan --model llama3-70b --gpus 256 --gpu h200 --batch 512 --seq 8192");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
