#include "core/index_check.h"

#include <atomic>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "core/cuda/runtime.h"

namespace plinth {
namespace {

// The slots of all devices, and the checks that a slot's number stands for. A captured graph keeps
// both for as long as it lives: nothing is ever taken away.
struct KnownChecks {
  std::mutex mutex;
  std::map<int, kernels::IndexFault*> slots;
  std::map<IndexCheck, uint32_t> numbers;
  std::vector<IndexCheck> checks;
};

KnownChecks& known_checks() {
  static auto* const deferred = new KnownChecks;
  return *deferred;
}

kernels::IndexFault* new_slot() {
  void* const memory = cuda::host_allocate(sizeof(kernels::IndexFault));
  check(memory != nullptr, ErrorKind::OutOfMemory, "allocate", "no pinned host memory left");
  return new (memory) kernels::IndexFault;
}

}  // namespace

bool IndexCheck::operator<(const IndexCheck& other) const {
  return std::tie(op, argument, limit, ignored, is_length) <
         std::tie(other.op, other.argument, other.limit, other.ignored, other.is_length);
}

Error IndexCheck::error(int64_t element, int64_t value) const {
  if (is_length) {
    return {ErrorKind::Argument, op,
            detail::concat(argument, "[", element, "] is ", value, ", expected within [0, ",
                           limit - 1, "]")};
  }
  std::string message = detail::concat(argument, " ", value, " (element ", element, ") is ");
  message += ignored
                 ? detail::concat("neither a class in [0, ", limit, ") nor ignore_index ", *ignored)
                 : detail::concat("out of range for a size of ", limit);
  return {ErrorKind::Argument, op, message};
}

DeferredCheck deferred(const IndexCheck& check, Device device) {
  KnownChecks& known = known_checks();
  const std::lock_guard lock(known.mutex);
  kernels::IndexFault*& slot = known.slots[device.index];
  if (!slot) slot = new_slot();
  const auto next = static_cast<uint32_t>(known.checks.size() + 1);
  const auto [found, is_new] = known.numbers.emplace(check, next);
  if (is_new) known.checks.push_back(check);
  return {found->second, slot};
}

void raise_index_fault(Device device) {
  KnownChecks& known = known_checks();
  const std::lock_guard lock(known.mutex);
  const auto found = known.slots.find(device.index);
  if (found == known.slots.end()) return;
  kernels::IndexFault& slot = *found->second;
  if (std::atomic_ref(slot.check).load() == 0) return;
  cuda::synchronize(device);  // the kernel may still be writing the rest
  const kernels::IndexFault fault = std::exchange(slot, {});
  throw known.checks.at(fault.check - 1).error(fault.element, fault.value);
}

}  // namespace plinth
