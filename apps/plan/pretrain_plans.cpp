#include "apps/plan/pretrain_plans.h"

#include <algorithm>
#include <optional>

#include "apps/plan/model.h"
#include "core/error.h"
#include "train/pretrain/dry_run.h"

namespace plinth::apps {
namespace {

using detail::concat;
using plan::Strategy;

// Candidates by predicted time, each of which may take a second or a few to look at.
constexpr size_t kMostDryRuns = 48;

// A configuration with a schema that is bound to it.
struct Loaded {
  PretrainConfig config;
  ConfigSchema schema = pretrain_schema(config);

  explicit Loaded(const RunFile& file, const std::vector<std::string>& more = {}) {
    file.load(schema, more);
  }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
};

// Pretraining shares gradients and parameters where all ranks have all layers and experts, and the
// optimizer's state among all replicas.
bool pretrain_takes(const Strategy& s) {
  const bool is_cut = s.pipeline * s.expert > 1;
  return !(s.zero_stage >= 2 && is_cut) && !(s.zero_stage == 1 && s.data_replicate > 1);
}

std::vector<std::string> assignments(const Strategy& s) {
  const auto word = [](bool flag) { return flag ? "true" : "false"; };
  const bool shares_in_groups = s.zero_stage >= 2 && s.data_replicate > 1;
  return {concat("train.micro_batch=", s.micro_batch),
          concat("model.activation_checkpointing=", word(s.recompute == plan::Recompute::Full)),
          concat("parallel.tp=", s.tensor),
          concat("parallel.sequence=", word(s.sequence_parallel)),
          concat("parallel.cp=", s.context),
          concat("parallel.zero=", s.zero_stage),
          concat("parallel.dp_shard=", shares_in_groups ? s.data_shard : 0),
          concat("parallel.pp=", s.pipeline),
          concat("parallel.ep=", s.expert),
          concat("parallel.schedule=", distributed::name(s.schedule)),
          concat("parallel.chunks=", s.chunks)};
}

// Of the assignments, those that change a value of the schema's.
std::vector<std::string> changes(const ConfigSchema& before, const ConfigSchema& after) {
  const auto old_values = before.values(), new_values = after.values();
  std::vector<std::string> words;
  for (size_t i = 0; i < new_values.size(); ++i) {
    std::string value = new_values[i].second;
    std::erase(value, '"');
    if (new_values[i] != old_values[i]) words.push_back(new_values[i].first + "=" + value);
  }
  return words;
}

// Nothing if pretrain refuses the plan.
std::optional<PretrainPlan> look_at(const plan::Plan& plan, const Loaded& base, const RunFile& file,
                                    int64_t ranks) {
  const Loaded own(file, assignments(plan.strategy));
  PretrainPlan result{plan, changes(base.schema, own.schema)};
  const int64_t stage_ranks = ranks / plan.strategy.pipeline;
  std::vector<int64_t> ends = {0};
  if (plan.strategy.pipeline > 1) ends.push_back(ranks - stage_ranks);
  try {
    for (const int64_t rank : ends) {
      const DryRunReport report =
          dry_run(own.config, own.schema,
                  {.ranks = static_cast<int>(ranks), .rank = static_cast<int>(rank)});
      if (report.peak <= result.bytes) continue;
      result.bytes = report.peak;
      result.rank = static_cast<int>(rank);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::Config) throw;
    return std::nullopt;
  }
  return result;
}

}  // namespace

PretrainPlans pretrain_plans(const RunFile& file, const plan::Gpu& gpu, int64_t gpus, size_t most,
                             plan::Attention attention) {
  const Loaded base(file);
  PretrainPlans answer;
  answer.question.gpu = &gpu;
  answer.question.gpus = gpus;
  plan::Workload& work = answer.question.work;
  const DryModel model = dry_model(base.config, base.schema);
  work.model = planned_model_of(model.config_json, file.path.string());
  work.sequence = model.context;
  work.global_batch = base.config.train.batch;
  work.software.attention = attention;
  const plan::SearchResult found =
      plan::search(gpu, work, gpus, std::max(most, kMostDryRuns), {}, pretrain_takes);
  answer.tried = found.tried;
  const double limit = plan::kUsableMemory * gpu.memory_bytes;
  for (const plan::Plan& plan : found.plans) {
    if (answer.plans.size() == most) break;
    ++answer.dry_runs;
    const std::optional<PretrainPlan> seen = look_at(plan, base, file, gpus);
    if (!seen) {
      ++answer.refused;
      continue;
    }
    if (answer.least_bytes == 0 || seen->bytes < answer.least_bytes)
      answer.least_bytes = seen->bytes;
    if (static_cast<double>(seen->bytes) <= limit) answer.plans.push_back(*seen);
  }
  return answer;
}

}  // namespace plinth::apps
