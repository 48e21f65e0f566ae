#pragma once

// Optimizer and learning rate as a configuration says, for every kind of run.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/optim/optimizer.h"
#include "nn/schedule.h"
#include "train/config/schema.h"

namespace plinth {

struct OptimizerSettings {
  std::string name = "adamw";
  double lr = 6e-4;
  double weight_decay = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double momentum = 0.9;
};

struct ScheduleSettings {
  std::string name = "cosine";
  int64_t warmup_steps = 0;
  double final_ratio = 0.1;
  double decay_fraction = 0.2;
};

// Declare the sections "optimizer" and "schedule".
void declare_optimizer(ConfigSchema& schema, OptimizerSettings& settings);
void declare_schedule(ConfigSchema& schema, ScheduleSettings& settings);

std::unique_ptr<nn::Optimizer> make_optimizer(const OptimizerSettings& settings,
                                              const std::vector<nn::ParameterGroup>& groups);
// Of a run of so many steps.
nn::Schedule make_schedule(const ScheduleSettings& settings, double lr, int64_t steps);

// Keys whose values differ, as messages: "optimizer.lr was 0.0006, now 0.001"; but those that
// may_change() accepts.
std::vector<std::string> changed_values(const ConfigSchema& before, const ConfigSchema& now,
                                        const std::function<bool(const std::string&)>& may_change);

// What may differ between any run and its saved configuration: where it lies.
bool is_run_directory(const std::string& key);

}  // namespace plinth
