#include "distributed/gradient_set.h"

namespace plinth::distributed {
namespace {

int64_t multiple_for(const Tensors& parameters, const ProcessGroup& group, bool sharded) {
  const Device device = parameters.empty() ? Device{} : parameters[0].device();
  return DataParallel::multiple(group, device, sharded);
}

}  // namespace

GradientSet::GradientSet(const Tensors& parameters, const std::shared_ptr<ProcessGroup>& group,
                         const DataParallelOptions& options)
    : group_(group),
      gradients_(parameters, {}, multiple_for(parameters, *group, options.sharded),
                 DataParallel::memory(group)),
      tree_(gradients_) {
  if (group_->size() > 1 && !gradients_.parameters().empty())
    parallel_.emplace(group_, gradients_, options);
}

void GradientSet::begin(int64_t total) {
  share_ = share_of(*group_, total);
  total_ = total;
  begun_ = 0;
  gradients_.zero();
  tree_.begin(parallel_ ? share_.first : 0);
}

void GradientSet::next() {
  if (begun_++ > 0) tree_.next();
  if (parallel_ && begun_ == share_.count) parallel_->begin(tree_, total_);
}

void GradientSet::finish() {
  if (parallel_) {
    parallel_->finish();
  } else {
    tree_.finish();
  }
}

}  // namespace plinth::distributed
