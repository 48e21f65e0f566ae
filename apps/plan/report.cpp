#include "apps/plan/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/print.h"
#include "core/error.h"
#include "core/io/json.h"
#include "train/logging/format.h"

namespace plinth::apps {
namespace {

using detail::concat;
using nlohmann::ordered_json;
using plan::Measurement;
using plan::Plan;

std::string gibibytes(double bytes) {
  return print("%.1f", bytes / (1 << 30));
}

std::string_view unit(plan::Metric metric) {
  switch (metric) {
    case plan::Metric::Seconds: return "s";
    case plan::Metric::ModelTeraflops: return "TFLOP/s";
    case plan::Metric::HardwareTeraflops: return "TFLOP/s*";
    case plan::Metric::TokensPerSecond: return "tokens/s";
  }
  return "";
}

std::string measurement_lines(const std::vector<Measurement>& rows) {
  std::string text, table;
  for (const Measurement& row : rows) {
    if (row.table != table) text += concat("\n", table = row.table, "\n");
    text += print("  %-42s %-9s %9.2f %9.2f %+7.1f %%\n", row.row.c_str(),
                  std::string(unit(row.metric)).c_str(), row.measured, plan::predict(row),
                  100 * plan::relative_error(row));
  }
  return text;
}

ordered_json measurement_json(const std::vector<Measurement>& rows) {
  ordered_json all = ordered_json::array();
  for (const Measurement& row : rows)
    all.push_back({{"table", row.table},
                   {"row", row.row},
                   {"gpu", row.gpu->name},
                   {"unit", unit(row.metric)},
                   {"measured", row.measured},
                   {"predicted", plan::predict(row)},
                   {"error", plan::relative_error(row)}});
  return all;
}

std::string plan_line(const Plan& plan, double bytes) {
  const plan::StepCost& cost = plan.cost;
  const plan::Strategy& s = plan.strategy;
  return print("%-26s %-11s %4d %5lld  %-9s %#9.4g %9.0f %6.1f %6.1f %7.1f %8s\n",
               s.mesh_text().c_str(), std::string(distributed::name(s.schedule)).c_str(),
               s.zero_stage, static_cast<long long>(s.micro_batch),
               std::string(plan::name(s.recompute)).c_str(), cost.seconds, cost.tokens_per_second,
               100 * cost.model_utilisation, 100 * cost.bubble_fraction,
               100 * cost.exposed_communication(), gibibytes(bytes).c_str());
}

ordered_json plan_row_json(const Plan& plan) {
  const plan::Strategy& s = plan.strategy;
  const plan::StepCost& cost = plan.cost;
  ordered_json json;
  json["mesh"] = {{"tensor", s.tensor},         {"context", s.context},
                  {"data_shard", s.data_shard}, {"data_replicate", s.data_replicate},
                  {"expert", s.expert},         {"pipeline", s.pipeline}};
  json["schedule"] = distributed::name(s.schedule);
  json["chunks"] = s.chunks;
  json["sequence_parallel"] = s.sequence_parallel;
  json["zero_stage"] = s.zero_stage;
  json["micro_batch"] = s.micro_batch;
  json["recompute"] = plan::name(s.recompute);
  json["step_seconds"] = cost.seconds;
  json["seconds"] = {{"compute", cost.compute},
                     {"communication", cost.communication},
                     {"bubble", cost.bubble},
                     {"data", cost.data},
                     {"optimizer", cost.optimizer}};
  json["tokens_per_second_per_gpu"] = cost.tokens_per_second;
  json["mfu"] = cost.model_utilisation;
  json["hfu"] = cost.hardware_utilisation;
  json["bubble_fraction"] = cost.bubble_fraction;
  json["exposed_communication"] = cost.exposed_communication();
  json["memory_bytes"] = {
      {"parameters", cost.memory.parameters}, {"gradients", cost.memory.gradients},
      {"optimizer", cost.memory.optimizer},   {"activations", cost.memory.activations},
      {"logits", cost.memory.logits},         {"total", cost.memory.total()}};
  return json;
}

std::string plan_title(const PlanQuestion& question) {
  const plan::Workload& work = question.work;
  return concat(work.model.name, ", ", format_count(static_cast<double>(work.model.parameters())),
                " parameters, on ", question.gpus, " ", question.gpu->name, "; a step of ",
                work.global_batch, " sequences of ", work.sequence, " tokens\n");
}

std::string plan_heading() {
  return print("%-26s %-11s %4s %5s  %-9s %9s %9s %6s %6s %7s %8s\n", "mesh", "schedule", "zero",
               "micro", "recompute", "step s", "tokens/s", "MFU %", "bubble", "exposed", "GiB");
}

std::string plan_legend() {
  return "\nmesh: tensor, context, data (sharded x replicated), experts, pipeline (x chunks).\n"
         "tokens/s: a GPU. bubble: % of the pipeline's time.\n"
         "exposed: % of the step in communication that nothing hides.\n"
         "Predicted, not measured: plinth plan --validate shows how far off.\n";
}

ordered_json plan_question_json(const PlanQuestion& question) {
  const plan::Workload& work = question.work;
  ordered_json json;
  json["model"] = work.model.name;
  json["parameters"] = work.model.parameters();
  json["gpu"] = question.gpu->name;
  json["gpus"] = question.gpus;
  json["batch"] = work.global_batch;
  json["sequence"] = work.sequence;
  return json;
}

}  // namespace

std::string plan_table(const PlanQuestion& question, const plan::SearchResult& result) {
  std::string text =
      concat(plan_title(question), result.fitting, " of ", result.tried, " layouts fit into ",
             gibibytes(plan::kUsableMemory * question.gpu->memory_bytes),
             " GiB a GPU; the fastest:\n\n", plan_heading());
  for (const Plan& plan : result.plans) text += plan_line(plan, plan.cost.memory.total());
  return text + plan_legend();
}

std::string plan_json(const PlanQuestion& question, const plan::SearchResult& result) {
  ordered_json json = plan_question_json(question);
  json["layouts"] = {{"tried", result.tried}, {"fitting", result.fitting}};
  json["plans"] = ordered_json::array();
  for (const Plan& plan : result.plans) json["plans"].push_back(plan_row_json(plan));
  return json_text(json, 2) + "\n";
}

std::string pretrain_plans_table(const PretrainPlans& answer, const RunFile& file) {
  std::string text = plan_title(answer.question);
  text += concat("the fastest that fit into ",
                 gibibytes(plan::kUsableMemory * answer.question.gpu->memory_bytes),
                 " GiB a GPU, after ", answer.dry_runs, " dry runs of ", answer.tried,
                 " layouts:\n\n", plan_heading());
  for (const PretrainPlan& own : answer.plans)
    text += plan_line(own.plan, static_cast<double>(own.bytes));
  text += plan_legend();
  text += "GiB: the peak of a dry run of plinth's own step, to the byte as plinth memory tells.\n";
  text += "\nThe first, for plinth pretrain " + file.path.string();
  for (const std::string& word : file.overrides) text += " " + word;
  text += ":\n ";
  for (const std::string& word : answer.plans.front().overrides) text += " " + word;
  return text + "\n";
}

std::string pretrain_plans_json(const PretrainPlans& answer) {
  ordered_json json = plan_question_json(answer.question);
  json["layouts"] = {
      {"tried", answer.tried}, {"dry_runs", answer.dry_runs}, {"refused", answer.refused}};
  json["plans"] = ordered_json::array();
  for (const PretrainPlan& own : answer.plans) {
    ordered_json row = plan_row_json(own.plan);
    row["dry_run"] = {{"peak_bytes", own.bytes}, {"rank", own.rank}};
    row["overrides"] = own.overrides;
    json["plans"].push_back(std::move(row));
  }
  return json_text(json, 2) + "\n";
}

std::string validation_table() {
  const std::vector<Measurement> fitted = plan::calibration_rows();
  const std::vector<Measurement> predicted = plan::prediction_rows();
  const plan::Calibration calibration;
  std::string text = concat(
      "Two numbers are fitted, to the first table alone: ", calibration.product,
      " of what matrix products reach, ", calibration.memory, " of the memory's bandwidth.\n\n");
  text += print("  %-42s %-9s %9s %9s %9s\n", "", "", "measured", "predicted", "error");
  text += measurement_lines(fitted) + measurement_lines(predicted);
  text +=
      concat("\nmedian error ", print("%.1f", 100 * plan::median_error(fitted)), " % of the ",
             fitted.size(), " rows fitted, ", print("%.1f", 100 * plan::median_error(predicted)),
             " % of the ", predicted.size(), " rows predicted\n");
  return text + "* a GPU, with recomputation; the others without\n";
}

std::string validation_json() {
  const plan::Calibration calibration;
  ordered_json json;
  json["calibration"] = {{"product", calibration.product}, {"memory", calibration.memory}};
  json["fitted"] = measurement_json(plan::calibration_rows());
  json["predicted"] = measurement_json(plan::prediction_rows());
  json["median_error"] = {{"fitted", plan::median_error(plan::calibration_rows())},
                          {"predicted", plan::median_error(plan::prediction_rows())}};
  return json_text(json, 2) + "\n";
}

}  // namespace plinth::apps
