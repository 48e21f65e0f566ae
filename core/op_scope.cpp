#include "core/op_scope.h"

#include <mutex>
#include <string>
#include <unordered_set>

namespace plinth {

const char* permanent_name(std::string_view name) {
  static std::mutex mutex;
  static auto* const names = new std::unordered_set<std::string>;
  const std::lock_guard lock(mutex);
  return names->emplace(name).first->c_str();
}

}  // namespace plinth
