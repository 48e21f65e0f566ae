#pragma once

// Training steps that really run, and what memory the CPU's allocator gave for them.

#include <omp.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "train/pretrain/dry_run.h"
#include "train/pretrain/pretrain.h"

namespace plinth {

// The configuration of a small model, with these keys set.
struct StepSetting {
  explicit StepSetting(const std::vector<std::string>& words) : schema(pretrain_schema(config)) {
    for (const char* word :
         {"run.directory=run", "data.train=[\"nowhere.bin\"]", "model.layers=3", "model.dim=48",
          "model.heads=3", "model.context=64", "model.vocab_size=300", "train.batch=4"})
      schema.set(word);
    for (const std::string& word : words) schema.set(word);
    schema.finish();
  }
  PretrainConfig config;
  ConfigSchema schema;
};

struct StepPeaks {
  int64_t setup = 0, first = 0, before = 0, second = 0;
  bool operator==(const StepPeaks&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const StepPeaks& peaks) {
  return out << "setup " << peaks.setup << ", first step " << peaks.first << ", then "
             << peaks.before << " and in the second step " << peaks.second;
}

inline StepPeaks peaks_of(const DryRunReport& report) {
  return {report.setup_peak, report.first_peak, report.before, report.peak};
}

// Of two steps, kernels and all.
inline StepPeaks real_step(const std::vector<std::string>& words,
                           const std::shared_ptr<distributed::ProcessGroup>& group = nullptr) {
  omp_set_num_threads(1);
  const StepSetting setting(words);
  Allocator& memory = allocator(Device{});
  const int64_t others = memory.stats().allocated;  // of the program
  memory.reset_peak();
  const auto most = [&] { return memory.stats().peak_allocated - others; };
  StepPeaks peaks;
  ZeroBatches batches;
  with_trainer(setting.config, setting.schema, batches, group, [&](const PretrainParts& parts) {
    batches.set_length(parts.model.info().context);
    peaks.setup = most();
    memory.reset_peak();
    parts.trainer.step();
    peaks.first = most();
    peaks.before = memory.stats().allocated - others;
    memory.reset_peak();
    parts.trainer.step();
    peaks.second = most();
  });
  return peaks;
}

}  // namespace plinth
