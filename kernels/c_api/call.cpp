#include "kernels/c_api/call.h"

#include <exception>
#include <new>

#include "kernels/device/launch_failure.h"

namespace plinth::kernels::c_api {
namespace {

// Of this thread's last call that failed.
std::string& last_error() {
  thread_local std::string message;
  return message;
}

void check_alignment(size_t element_size, const Pointer& pointer) {
  require(reinterpret_cast<uintptr_t>(pointer.value) % element_size == 0,
          std::string(pointer.name) + " is not aligned to its elements of " +
              std::to_string(element_size) + " bytes");
}

}  // namespace

plinth_status remember(const char* function, plinth_status status, const std::string& message) {
  last_error() = std::string(function) + ": " + message;
  return status;
}

plinth_status status_of_exception(const char* function) noexcept {
  try {
    try {
      throw;
    } catch (const Refused& refused) {
      return remember(function, refused.status, refused.message);
    } catch (const std::bad_alloc&) {
      return remember(function, PLINTH_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& error) {
      return remember(function, PLINTH_FAILED, error.what());
    }
  } catch (...) {
    return PLINTH_OUT_OF_MEMORY;  // there was no room for the message
  }
}

void check_launches(plinth_device device) {
  if (device == PLINTH_CPU) return;
  const device::LaunchFailure failure = device::take_launch_failure();
  if (!failure.kernel) return;
  throw Refused{PLINTH_DEVICE_FAILED,
                std::string(failure.kernel) + " did not start: " + failure.error};
}

void require(bool holds, const std::string& message) {
  if (!holds) throw Refused{PLINTH_INVALID_ARGUMENT, message};
}

void check_device(plinth_device device) {
  require(device == PLINTH_CPU || device == PLINTH_CUDA,
          "device is " + std::to_string(device) + ", takes PLINTH_CPU or PLINTH_CUDA");
  if (!plinth_has_device(device))
    throw Refused{PLINTH_UNSUPPORTED, "this build has no CUDA kernels"};
}

int64_t product(std::initializer_list<Size> sizes) {
  constexpr int64_t kLargestElement = 8;
  int64_t result = 1, bytes = 0;
  for (const Size& size : sizes) {
    require(size.value >= 0,
            std::string(size.name) + " is " + std::to_string(size.value) + ", takes 0 or more");
    require(!__builtin_mul_overflow(result, size.value, &result) &&
                !__builtin_mul_overflow(result, kLargestElement, &bytes),
            std::string(size.name) + " makes more elements than there are addresses");
  }
  return result;
}

void check_pointers(int64_t elements, size_t element_size,
                    std::initializer_list<Pointer> pointers) {
  for (const Pointer& pointer : pointers) {
    require(elements == 0 || pointer.value != nullptr, std::string(pointer.name) + " is null");
    check_alignment(element_size, pointer);
  }
}

void check_optional(size_t element_size, std::initializer_list<Pointer> pointers) {
  for (const Pointer& pointer : pointers) check_alignment(element_size, pointer);
}

void check_workspace(const void* workspace, size_t given, size_t needed) {
  constexpr size_t kAlignment = 16;
  if (needed == 0) return;
  require(workspace != nullptr, "workspace is null");
  require(given >= needed,
          "workspace has " + std::to_string(given) + " bytes, takes " + std::to_string(needed));
  check_alignment(kAlignment, {"workspace", workspace});
}

void refuse_dtype(plinth_dtype dtype, const char* takes) {
  const bool is_known = dtype >= PLINTH_FLOAT64 && dtype <= PLINTH_BOOL;
  const std::string got =
      is_known ? std::string(name(static_cast<DType>(dtype))) : std::to_string(dtype);
  throw Refused{PLINTH_INVALID_ARGUMENT, "dtype is " + got + ", takes " + takes};
}

}  // namespace plinth::kernels::c_api

using namespace plinth::kernels::c_api;

int32_t plinth_kernels_abi_version(void) {
  return PLINTH_KERNELS_ABI_VERSION;
}

const char* plinth_version(void) {
  return PLINTH_VERSION;
}

const char* plinth_last_error(void) {
  return plinth::kernels::c_api::last_error().c_str();
}

int32_t plinth_has_device(plinth_device device) {
#ifdef PLINTH_CUDA_BACKEND
  return device == PLINTH_CPU || device == PLINTH_CUDA;
#else
  return device == PLINTH_CPU;
#endif
}
