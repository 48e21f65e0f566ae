#include "train/pretrain/dry_run.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"
#include "train/pretrain/pretrain.h"
#include "train/pretrain/ranks.h"

namespace plinth {
namespace {

// Listens to the scopes while it lives.
class Listening {
 public:
  explicit Listening(ScopeListener* listener) { set_scope_listener(listener); }
  ~Listening() { set_scope_listener(nullptr); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
};

void tell_owners(MemoryTrace& trace, const PretrainParts& parts) {
  for (const auto& [name, tensor] : parts.model.named_parameters()) {
    trace.tell(tensor, MemoryKind::Parameters, name);
    trace.tell(tensor.grad(), MemoryKind::Gradients, name);
  }
  for (const auto& [name, tensor] : parts.optimizer.state_dict())
    trace.tell(tensor, MemoryKind::Optimizer, name);
}

std::shared_ptr<distributed::ProcessGroup> group_of(
    const DryRunOptions& options, int rank, const std::shared_ptr<distributed::DryMail>& mail) {
  if (options.ranks == 1) return nullptr;
  return distributed::make_dry_group(rank, options.ranks, options.transfers, mail);
}

// What a stage sends to the next: the same for all, but the first alone knows it by itself.
void ask_first_stage(const PretrainConfig& config, const ConfigSchema& schema,
                     const DryRunOptions& options,
                     const std::shared_ptr<distributed::DryMail>& mail) {
  const DryRun dry;
  ZeroBatches batches;
  with_trainer(config, schema, batches, group_of(options, 0, mail),
               [&](const PretrainParts& parts) {
                 batches.set_length(parts.model.info().context);
                 parts.trainer.step();
               });
}

}  // namespace

Batch ZeroBatches::next(int64_t count) {
  if (on_next_) on_next_();
  const auto zeros = [&] {
    const auto owner = std::make_shared<std::vector<int64_t>>(count * length_);
    auto storage = std::make_shared<Storage>(owner->data(), owner->size() * sizeof(int64_t),
                                             Device{}, [owner] {});
    return Tensor::from_storage(std::move(storage), {count, length_}, {length_, 1}, 0,
                                DType::Int64);
  };
  return {zeros(), zeros()};
}

DryModel dry_model(const PretrainConfig& config, const ConfigSchema& schema) {
  PretrainConfig alone = config;
  alone.parallel = {};
  const DryRun dry;
  ZeroBatches batches;
  DryModel model;
  with_trainer(alone, schema, batches, nullptr, [&](const PretrainParts& parts) {
    model = {parts.model.config_json(DType::Float32), parts.model.info().context};
  });
  return model;
}

DryRunReport dry_run(const PretrainConfig& config, const ConfigSchema& schema,
                     const DryRunOptions& options) {
  check(options.ranks >= 1 && options.rank >= 0 && options.rank < options.ranks,
        ErrorKind::Argument, "dry run", "got rank ", options.rank, " of ", options.ranks,
        ", takes 0 to ranks - 1");
  const auto mail = std::make_shared<distributed::DryMail>();
  if (options.rank * config.parallel.pp >= options.ranks)
    ask_first_stage(config, schema, options, mail);
  DryRunReport report;
  MemoryTrace trace;
  const DryRun dry(&trace);
  const Listening listening(&trace);
  Allocator& memory = allocator(Device{});
  const auto group = group_of(options, options.rank, mail);
  ZeroBatches batches([&] {
    if (!is_cut(config)) trace.begin_micro_batch();
  });
  with_trainer(config, schema, batches, group, [&](const PretrainParts& parts) {
    batches.set_length(parts.model.info().context);
    report.parameters = parts.model.parameter_count();
    report.setup_peak = memory.stats().peak_allocated;
    for (int64_t* const peak : {&report.first_peak, &report.peak}) {
      if (peak == &report.peak) tell_owners(trace, parts);
      trace.begin_step();
      memory.reset_peak();
      report.before = memory.stats().allocated;
      parts.trainer.step();
      *peak = memory.stats().peak_allocated;
    }
    report.peak_place = trace.peak_place();
    report.by_kind = trace.peak();
    report.tensors = trace.at_peak();
    report.samples = trace.samples();
    check(total(report.by_kind) == report.peak, ErrorKind::Argument, "dry run", "its trace has ",
          total(report.by_kind), " bytes at the peak, the allocator ", report.peak);
  });
  return report;
}

}  // namespace plinth
