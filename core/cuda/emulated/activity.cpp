#include "core/cuda/activity.h"

#include <map>
#include <utility>

#include "core/cuda/runtime.h"
#include "kernels/device/emulate/activity.h"

namespace plinth::cuda {
namespace {

thread_local std::vector<uint64_t> scopes;

ActivityKind kind_of(emulate::ActivityKind kind) {
  switch (kind) {
    case emulate::ActivityKind::Copy: return ActivityKind::Copy;
    case emulate::ActivityKind::Fill: return ActivityKind::Fill;
    default: return ActivityKind::Kernel;
  }
}

std::array<uint32_t, 3> sizes(emulate::Dim3 d) {
  return {d.x, d.y, d.z};
}

class Recorder final : public emulate::ActivityListener {
 public:
  uint64_t scope() override { return scopes.empty() ? 0 : scopes.back(); }

  void done(const emulate::Activity& from) override {
    Activity to;
    to.kind = kind_of(from.kind);
    to.name = from.name;
    to.begin_ns = from.begin_ns;
    to.end_ns = from.end_ns;
    to.scope = from.scope;
    to.stream = numbers_.emplace(from.stream, numbers_.size()).first->second;
    to.bytes = static_cast<int64_t>(from.bytes);
    if (to.kind == ActivityKind::Kernel) {
      to.grid = sizes(from.shape.grid);
      to.block = sizes(from.shape.block);
      to.shared_bytes = static_cast<int64_t>(from.shape.shared_bytes);
    }
    activities_.push_back(std::move(to));
  }

  std::vector<Activity> take() {
    numbers_.clear();
    return std::exchange(activities_, {});
  }

 private:
  std::vector<Activity> activities_;
  std::map<const void*, uint64_t> numbers_;  // of streams
};

Recorder& recorder() {
  static auto* const only = new Recorder;
  return *only;
}

}  // namespace

std::string start_activities() {
  emulate::set_activity_listener(&recorder());
  return "";
}

void enter_activity_scope(uint64_t id) {
  scopes.push_back(id);
}
void leave_activity_scope() {
  scopes.pop_back();
}

std::vector<Activity> stop_activities() {
  cuda::synchronize(Device{DeviceType::CUDA, 0});
  emulate::set_activity_listener(nullptr);
  return recorder().take();
}

}  // namespace plinth::cuda
