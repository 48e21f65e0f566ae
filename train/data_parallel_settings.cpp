#include "train/data_parallel_settings.h"

#include "core/error.h"

namespace plinth {

void declare_data_parallel(ConfigSchema& schema, DataParallelSettings& settings) {
  schema.field("parallel.reduction", &settings.reduction)
      .words({"tree", "library"})
      .help(
          "how gradients of ranks are added: tree gives the same bits on any number of ranks; "
          "library is the backend's own sum, whose bits depend on it");
  schema.field("parallel.bucket_mb", &settings.bucket_mb)
      .range(1, 4096)
      .help("gradients that are sent together, in MiB");
  schema.field("parallel.overlap", &settings.overlap)
      .help("send gradients while the backward pass still runs");
  schema.field("parallel.timeout_s", &settings.timeout_s)
      .range(1, 86400)
      .help("seconds after which a rank that does not come is given up, and the run with it");
}

distributed::DataParallelOptions data_parallel_options(const DataParallelSettings& settings) {
  return {.reduction = settings.reduction == "tree" ? distributed::Reduction::Tree
                                                    : distributed::Reduction::Library,
          .bucket_bytes = settings.bucket_mb << 20,
          .overlap = settings.overlap,
          .sharded = settings.zero == 1};
}

void check_micro_batches(int64_t batch, int64_t micro_batch, int64_t ranks,
                         std::string_view which) {
  const int64_t micro_batches = batch / micro_batch;
  check(micro_batches % ranks == 0, ErrorKind::Config, "train.micro_batch", "gives ", micro_batches,
        " micro-batches a step, takes a multiple of the ", ranks, " ranks", which,
        ": train.batch / train.micro_batch");
}

}  // namespace plinth
