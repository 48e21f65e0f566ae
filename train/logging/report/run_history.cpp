#include "train/logging/report/run_history.h"

#include <cmath>

namespace plinth {

void add_metrics(RunHistory& history, std::span<const MetricsRow> rows) {
  const std::pair<const char*, std::vector<Point>*> curves[] = {
      {"loss", &history.loss},
      {"val_loss", &history.validation_loss},
      {"lr", &history.learning_rate},
      {"grad_norm", &history.gradient_norm},
      {"tokens_per_s", &history.throughput},
  };
  for (const MetricsRow& row : rows) {
    for (const auto& [name, points] : curves) {
      const double value = row.value(name);
      if (!std::isnan(value)) points->push_back({static_cast<double>(row.step), value});
    }
  }
}

}  // namespace plinth
