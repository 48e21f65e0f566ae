// GPU activities by CUPTI, NVIDIA's profiling library (CUPTI documentation, "Activity API"). It
// hands over buffers of records of many kinds; which host scope asked for a kernel is told by pairs
// of ids: (our scope, correlation) and (correlation, kernel).

#include <cupti.h>
#include <cxxabi.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/cuda/activity.h"
#include "core/cuda/runtime.h"
#include "kernels/library/shared_library.h"

namespace plinth::cuda {
namespace {

// Records of these versions are laid out alike in CUDA 12 and 13: later ones only grow at the end.
using KernelRecord = CUpti_ActivityKernel9;
using CopyRecord = CUpti_ActivityMemcpy5;
using FillRecord = CUpti_ActivityMemset4;

#if CUDA_VERSION >= 13000
#define PLINTH_CUPTI_NAME "libcupti.so.13"
#else
#define PLINTH_CUPTI_NAME "libcupti.so.12"
#endif

constexpr CUpti_ActivityKind kKinds[] = {
    CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
    CUPTI_ACTIVITY_KIND_MEMCPY,
    CUPTI_ACTIVITY_KIND_MEMSET,
    CUPTI_ACTIVITY_KIND_RUNTIME,
    CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
};
constexpr auto kOurs = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;
constexpr size_t kBufferBytes = size_t{4} << 20;
constexpr size_t kBufferAlignment = 8;

struct Cupti {
  kernels::cuda::SharedLibrary library{
      {PLINTH_CUPTI_NAME, "/usr/local/cuda/lib64/" PLINTH_CUPTI_NAME,
       "/usr/local/cuda/extras/CUPTI/lib64/" PLINTH_CUPTI_NAME},
      "PLINTH_CUPTI"};
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
  decltype(&cuptiActivityRegisterTimestampCallback) register_clock;
  decltype(&cuptiActivityEnable) enable;
  decltype(&cuptiActivityDisable) disable;
  decltype(&cuptiActivityFlushAll) flush_all;
  decltype(&cuptiActivityGetNextRecord) next_record;
  decltype(&cuptiActivityPushExternalCorrelationId) push_id;
  decltype(&cuptiActivityPopExternalCorrelationId) pop_id;
  decltype(&cuptiGetResultString) result_name;

  Cupti() {
    library.find("cuptiActivityRegisterCallbacks", register_callbacks);
    library.find("cuptiActivityRegisterTimestampCallback", register_clock);
    library.find("cuptiActivityEnable", enable);
    library.find("cuptiActivityDisable", disable);
    library.find("cuptiActivityFlushAll", flush_all);
    library.find("cuptiActivityGetNextRecord", next_record);
    library.find("cuptiActivityPushExternalCorrelationId", push_id);
    library.find("cuptiActivityPopExternalCorrelationId", pop_id);
    library.find("cuptiGetResultString", result_name);
  }
};
#undef PLINTH_CUPTI_NAME

const Cupti& cupti() {
  static const auto* const loaded = new Cupti;
  return *loaded;
}

struct Recording {
  std::mutex mutex;  // CUPTI completes buffers in a thread of its own
  std::vector<Activity> activities;
  std::vector<uint32_t> correlations;  // of the activities
  std::unordered_map<uint32_t, uint64_t> scopes;
};

Recording& recording() {
  static auto* const all = new Recording;
  return *all;
}

// "plinth::kernels::f<float>" from a mangled name of a function with parameters.
std::string readable(const char* mangled) {
  if (!mangled) return "kernel";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  if (status != 0) return mangled;
  std::string name = text.get();
  constexpr std::string_view kAnonymous = "(anonymous namespace)::";
  for (size_t at; (at = name.find(kAnonymous)) != std::string::npos;)
    name.erase(at, kAnonymous.size());
  if (name.starts_with("void ")) name.erase(0, 5);
  int depth = 0;  // of template arguments, which may hold parentheses
  for (size_t i = 0; i < name.size(); ++i) {
    depth += (name[i] == '<') - (name[i] == '>');
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

const char* copy_name(uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD: return "copy host to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH: return "copy device to host";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD: return "copy device to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_PTOP: return "copy between devices";
    default: return "copy";
  }
}

template <class Record>
Activity placed(ActivityKind kind, std::string name, const Record& record) {
  Activity activity;
  activity.kind = kind;
  activity.name = std::move(name);
  activity.begin_ns = static_cast<int64_t>(record.start);
  activity.end_ns = static_cast<int64_t>(record.end);
  activity.device = static_cast<int>(record.deviceId);
  activity.stream = record.streamId;
  return activity;
}

Activity kernel_of(const KernelRecord& record) {
  Activity activity = placed(ActivityKind::Kernel, readable(record.name), record);
  const auto size = [](int32_t n) { return static_cast<uint32_t>(n); };
  activity.grid = {size(record.gridX), size(record.gridY), size(record.gridZ)};
  activity.block = {size(record.blockX), size(record.blockY), size(record.blockZ)};
  activity.shared_bytes = int64_t{record.staticSharedMemory} + record.dynamicSharedMemory;
  activity.registers = record.registersPerThread;
  return activity;
}

void take(const CUpti_Activity* any) {
  Recording& all = recording();
  const auto add = [&](Activity activity, uint32_t correlation) {
    all.activities.push_back(std::move(activity));
    all.correlations.push_back(correlation);
  };
  switch (any->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto& record = *reinterpret_cast<const KernelRecord*>(any);
      return add(kernel_of(record), record.correlationId);
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto& record = *reinterpret_cast<const CopyRecord*>(any);
      Activity copy = placed(ActivityKind::Copy, copy_name(record.copyKind), record);
      copy.bytes = static_cast<int64_t>(record.bytes);
      return add(std::move(copy), record.correlationId);
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto& record = *reinterpret_cast<const FillRecord*>(any);
      Activity fill = placed(ActivityKind::Fill, "fill", record);
      fill.bytes = static_cast<int64_t>(record.bytes);
      return add(std::move(fill), record.correlationId);
    }
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: {
      const auto& record = *reinterpret_cast<const CUpti_ActivityExternalCorrelation*>(any);
      if (record.externalKind == kOurs) all.scopes[record.correlationId] = record.externalId;
      return;
    }
    default: return;
  }
}

uint64_t CUPTIAPI clock_now() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                               std::chrono::nanoseconds(1));
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* most_records) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  *size = *buffer ? kBufferBytes : 0;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::unique_ptr<uint8_t, void (*)(void*)> owner(buffer, std::free);
  const std::lock_guard lock(recording().mutex);
  CUpti_Activity* record = nullptr;
  while (cupti().next_record(buffer, valid, &record) == CUPTI_SUCCESS) take(record);
}

std::string explained(CUptiResult result) {
  if (result == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES)
    return "the driver lets only administrators profile (NVreg_RestrictProfilingToAdminUsers)";
  const char* text = nullptr;
  cupti().result_name(result, &text);
  return std::string("CUPTI says ") + (text ? text : "nothing");
}

CUptiResult enable_all() {
  const Cupti& api = cupti();
  CUptiResult result = api.register_clock(clock_now);
  if (result == CUPTI_SUCCESS) result = api.register_callbacks(give_buffer, take_buffer);
  for (const CUpti_ActivityKind kind : kKinds)
    if (result == CUPTI_SUCCESS) result = api.enable(kind);
  return result;
}

void disable_all() {
  for (const CUpti_ActivityKind kind : kKinds) cupti().disable(kind);
}

}  // namespace

std::string start_activities() {
  if (device_count() == 0) return why_no_device();
  if (!cupti().library.error().empty()) return cupti().library.error();
  const CUptiResult result = enable_all();
  if (result == CUPTI_SUCCESS) return "";
  disable_all();
  return explained(result);
}

void enter_activity_scope(uint64_t id) {
  cupti().push_id(kOurs, id);
}
void leave_activity_scope() {
  uint64_t last = 0;
  cupti().pop_id(kOurs, &last);
}

std::vector<Activity> stop_activities() {
  for (int i = 0; i < device_count(); ++i) cuda::synchronize(Device{DeviceType::CUDA, i});
  disable_all();
  cupti().flush_all(0);
  Recording& all = recording();
  const std::lock_guard lock(all.mutex);
  for (size_t i = 0; i < all.activities.size(); ++i) {
    const auto scope = all.scopes.find(all.correlations[i]);
    if (scope != all.scopes.end()) all.activities[i].scope = scope->second;
  }
  all.correlations.clear();
  all.scopes.clear();
  return std::exchange(all.activities, {});
}

}  // namespace plinth::cuda
