#include "kernels/library/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace plinth::kernels::cuda {

SharedLibrary::SharedLibrary(std::initializer_list<const char*> names, const char* variable) {
  const auto open = [this](const char* name) {
    handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle_ && error_.empty()) error_ = dlerror();
    return handle_ != nullptr;
  };
  if (const char* path = std::getenv(variable)) {
    open(path);
    return;
  }
  for (const char* name : names) {
    if (open(name)) break;
  }
  if (handle_) error_.clear();
}

void* SharedLibrary::symbol(const char* name) {
  if (!handle_) return nullptr;
  void* found = dlsym(handle_, name);
  if (!found && error_.empty()) error_ = dlerror();
  return found;
}

}  // namespace plinth::kernels::cuda
