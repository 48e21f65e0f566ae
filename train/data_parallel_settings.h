#pragma once

// How ranks that have the same model share a step, as a configuration says.

#include <cstdint>
#include <string>
#include <string_view>

#include "distributed/data_parallel.h"
#include "train/config/schema.h"

namespace plinth {

struct DataParallelSettings {
  int64_t zero = 0;
  std::string reduction = "tree";
  int64_t bucket_mb = 25;
  bool overlap = true;
  int64_t timeout_s = 600;
};

// Declares them as keys of "parallel", but for zero, whose stages depend on what is trained.
void declare_data_parallel(ConfigSchema& schema, DataParallelSettings& settings);

distributed::DataParallelOptions data_parallel_options(const DataParallelSettings& settings);

// Throws Error(Config) unless `ranks` share a step's micro-batches evenly; `which` tells of ranks
// that are not all of the run.
void check_micro_batches(int64_t batch, int64_t micro_batch, int64_t ranks,
                         std::string_view which = "");

}  // namespace plinth
