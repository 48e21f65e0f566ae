#include "train/optimization.h"

#include <map>

#include "nn/optim/adamw.h"
#include "nn/optim/lion.h"
#include "nn/optim/sgd.h"

namespace plinth {

void declare_optimizer(ConfigSchema& schema, OptimizerSettings& settings) {
  schema.section("optimizer", "how gradients change the weights");
  schema.field("optimizer.name", &settings.name).words({"adamw", "lion", "sgd"}).help("algorithm");
  schema.field("optimizer.lr", &settings.lr).range(0, 100).help("peak learning rate");
  schema.field("optimizer.weight_decay", &settings.weight_decay)
      .range(0, 100)
      .help("of matrices; gains and biases do not decay");
  schema.field("optimizer.beta1", &settings.beta1).range(0, 0.999999).help("of adamw and lion");
  schema.field("optimizer.beta2", &settings.beta2).range(0, 0.999999).help("of adamw and lion");
  schema.field("optimizer.eps", &settings.eps).range(0, 1).help("of adamw");
  schema.field("optimizer.momentum", &settings.momentum).range(0, 0.999999).help("of sgd");
}

void declare_schedule(ConfigSchema& schema, ScheduleSettings& settings) {
  schema.section("schedule", "learning rate over the steps");
  schema.field("schedule.name", &settings.name)
      .words({"cosine", "linear", "constant", "wsd"})
      .help("after the warm-up; wsd: constant, then a decay at the end");
  schema.field("schedule.warmup_steps", &settings.warmup_steps).at_least(0).help("from 0 to lr");
  schema.field("schedule.final_ratio", &settings.final_ratio)
      .range(0, 1)
      .help("last learning rate over the peak");
  schema.field("schedule.decay_fraction", &settings.decay_fraction)
      .range(0, 1)
      .help("part of the steps in which wsd decays");
}

std::unique_ptr<nn::Optimizer> make_optimizer(const OptimizerSettings& settings,
                                              const std::vector<nn::ParameterGroup>& groups) {
  if (settings.name == "lion")
    return std::make_unique<nn::Lion>(
        groups,
        nn::LionOptions{.lr = settings.lr, .beta1 = settings.beta1, .beta2 = settings.beta2});
  if (settings.name == "sgd")
    return std::make_unique<nn::Sgd>(
        groups, nn::SgdOptions{.lr = settings.lr, .momentum = settings.momentum});
  return std::make_unique<nn::AdamW>(groups, nn::AdamWOptions{.lr = settings.lr,
                                                              .beta1 = settings.beta1,
                                                              .beta2 = settings.beta2,
                                                              .eps = settings.eps});
}

nn::Schedule make_schedule(const ScheduleSettings& settings, double lr, int64_t steps) {
  return {.kind = nn::schedule_kind(settings.name),
          .peak = lr,
          .floor = lr * settings.final_ratio,
          .warmup = settings.warmup_steps,
          .steps = steps,
          .decay = static_cast<int64_t>(static_cast<double>(steps) * settings.decay_fraction)};
}

std::vector<std::string> changed_values(const ConfigSchema& before, const ConfigSchema& now,
                                        const std::function<bool(const std::string&)>& may_change) {
  std::map<std::string, std::string> old;
  for (auto& [key, value] : before.values()) old[key] = value;
  std::vector<std::string> changes;
  for (const auto& [key, value] : now.values()) {
    if (old[key] != value && !may_change(key))
      changes.push_back(key + " was " + old[key] + ", now " + value);
  }
  return changes;
}

bool is_run_directory(const std::string& key) {
  return key == "run.directory";
}

}  // namespace plinth
