#pragma once

// What `plinth plan` prints and draws.

#include <string>

#include "apps/plan/pretrain_plans.h"
#include "apps/plan/question.h"
#include "distributed/plan/search.h"
#include "distributed/plan/validation.h"

namespace plinth::apps {

// A table, a plan a line.
std::string plan_table(const PlanQuestion& question, const plan::SearchResult& result);
// One JSON object: the question, and the plans with all parts of their time and memory.
std::string plan_json(const PlanQuestion& question, const plan::SearchResult& result);
// A picture that stands alone: the memory of each plan by kind, and the first one's pipeline.
std::string plan_svg(const PlanQuestion& question, const plan::SearchResult& result);

// The same of a run's plans, and what to give `plinth pretrain` for the first.
std::string pretrain_plans_table(const PretrainPlans& answer, const RunFile& file);
std::string pretrain_plans_json(const PretrainPlans& answer);

// Measured and predicted, a row a line, and the median error of the rows that are predicted.
std::string validation_table();
std::string validation_json();

}  // namespace plinth::apps
