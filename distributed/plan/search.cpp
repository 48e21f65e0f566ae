#include "distributed/plan/search.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"

namespace plinth::plan {
namespace {

constexpr int64_t kMostRanks = 1 << 20;
constexpr int64_t kLeastContextTokens = 4096;
constexpr int kMostStages = 64, kMostChunks = 32;

class Search {
 public:
  Search(const Gpu& gpu, const Workload& work, int64_t ranks, size_t most,
         const Calibration& calibration, const std::function<bool(const Strategy&)>& takes)
      : gpu_(gpu),
        work_(work),
        ranks_(ranks),
        most_(most),
        calibration_(calibration),
        takes_(takes) {}

  SearchResult run() {
    for (int tensor = 1; tensor <= gpu_.gpus_per_node; tensor *= 2) {
      for (int64_t context = 1; context == 1 || work_.sequence / context >= kLeastContextTokens;
           context *= 2) {
        const int most_stages =
            static_cast<int>(std::min<int64_t>(kMostStages, work_.model.layers));
        for (int stages = 1; stages <= most_stages; ++stages) {
          const int64_t inner = tensor * context * stages;
          if (inner > ranks_ || ranks_ % inner != 0) continue;
          Strategy s;
          s.tensor = tensor;
          s.context = static_cast<int>(context);
          s.pipeline = stages;
          s.sequence_parallel = tensor > 1;
          replicas(s, static_cast<int>(ranks_ / inner));
        }
      }
    }
    return std::move(result_);
  }

 private:
  // All replicas share the optimizer's state, or those of a node alone do.
  void replicas(Strategy s, int data) {
    s.data_shard = data;
    schedules(s);
    const int in_node = gpu_.gpus_per_node / s.tensor;
    if (s.context > 1 || in_node <= 1 || in_node >= data || data % in_node != 0) return;
    s.data_shard = in_node;
    s.data_replicate = data / in_node;
    schedules(s);
  }

  void schedules(Strategy s) {
    for (s.expert = 1; s.expert <= work_.model.experts; s.expert *= 2) stages(s);
  }

  void stages(Strategy s) {
    for (const int stage : {0, 1, 2, 3}) {
      // Sharing more than nothing takes replicas; sharing parameters, no pipeline, whose every
      // micro-batch would gather them.
      if ((stage == 0) != (s.data_shard * s.context == 1) || (stage == 3 && s.pipeline > 1))
        continue;
      s.zero_stage = stage;
      s.schedule = PipelineKind::OneForwardOneBackward;
      s.chunks = 1;
      batches(s);
      if (s.pipeline == 1) continue;
      s.schedule = PipelineKind::ZeroBubbleH1;
      batches(s);
      s.schedule = PipelineKind::Interleaved;
      for (s.chunks = 2; s.chunks <= kMostChunks && s.pieces() <= work_.model.layers + 2;
           ++s.chunks)
        batches(s);
    }
  }

  void batches(Strategy s) {
    for (s.micro_batch = 1; s.micro_batch <= 16; s.micro_batch *= 2) {
      if (!problem(work_, s).empty()) continue;
      for (const Recompute recompute : {Recompute::None, Recompute::Selective, Recompute::Full}) {
        // Fused attention keeps no scores in any case.
        if (recompute == Recompute::Selective && work_.software.attention != Attention::Unfused)
          continue;
        s.recompute = recompute;
        consider(s);
      }
    }
  }

  void consider(const Strategy& s) {
    if (takes_ && !takes_(s)) return;
    ++result_.tried;
    const double bytes = step_memory(work_, s).total();
    if (result_.least_bytes == 0 || bytes < result_.least_bytes) result_.least_bytes = bytes;
    if (bytes > kUsableMemory * gpu_.memory_bytes) return;
    ++result_.fitting;
    const bool is_full = result_.plans.size() == most_;
    if (is_full && least_seconds(gpu_, work_, s, calibration_) >= result_.plans.back().cost.seconds)
      return;
    const Plan plan{s, step_cost(gpu_, work_, s, calibration_)};
    const auto place = std::ranges::upper_bound(
        result_.plans, plan.cost.seconds, {}, [](const Plan& other) { return other.cost.seconds; });
    result_.plans.insert(place, plan);
    if (result_.plans.size() > most_) result_.plans.pop_back();
  }

  const Gpu& gpu_;
  const Workload& work_;
  int64_t ranks_;
  size_t most_;
  const Calibration& calibration_;
  const std::function<bool(const Strategy&)>& takes_;
  SearchResult result_;
};

}  // namespace

SearchResult search(const Gpu& gpu, const Workload& work, int64_t ranks, size_t most,
                    const Calibration& calibration,
                    const std::function<bool(const Strategy&)>& takes) {
  validate(work);
  check(ranks >= 1 && ranks <= kMostRanks, ErrorKind::Argument, "plan", "got ", ranks,
        " GPUs, takes 1 to ", kMostRanks);
  check(most >= 1, ErrorKind::Argument, "plan", "takes at least 1 plan");
  SearchResult result = Search(gpu, work, ranks, most, calibration, takes).run();
  check(result.tried > 0, ErrorKind::Argument, "plan", "no mesh of ", ranks, " GPUs divides the ",
        work.model.layers, " layers and ", work.model.heads, " heads of the model and a batch of ",
        work.global_batch);
  return result;
}

}  // namespace plinth::plan
