#pragma once

// How a function of the C interface is made: checks that throw Refused, a dtype turned into a type,
// a device into a namespace, and all that is thrown into a status.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/c_api/plinth_kernels.h"
#include "kernels/dtype.h"
#include "kernels/philox.h"

namespace plinth::kernels::c_api {

// Thrown inside the library only.
struct Refused {
  plinth_status status;
  std::string message;
};

// Remembers the message for plinth_last_error(), and gives the status.
plinth_status remember(const char* function, plinth_status status, const std::string& message);
// The status of the exception that is being handled.
plinth_status status_of_exception(const char* function) noexcept;
// Throw Refused if the build has no kernels for the device, and if a launch on it has failed.
void check_device(plinth_device device);
void check_launches(plinth_device device);

// The body of every function: f's exceptions become its status.
template <class F>
plinth_status guarded(const char* function, plinth_device device, F&& f) noexcept {
  try {
    check_device(device);
    f();
    check_launches(device);
    return PLINTH_OK;
  } catch (...) {
    return status_of_exception(function);
  }
}

// ---- checks ----

void require(bool holds, const std::string& message);

struct Size {
  const char* name;
  int64_t value;
};
// The product of sizes, none negative, of elements that can be addressed.
int64_t product(std::initializer_list<Size> sizes);

struct Pointer {
  const char* name;
  const void* value;
};
// No pointer is null, unless there are no elements, and all are aligned to the elements' size.
void check_pointers(int64_t elements, size_t element_size, std::initializer_list<Pointer> pointers);
// The same for pointers that may be null.
void check_optional(size_t element_size, std::initializer_list<Pointer> pointers);
void check_workspace(const void* workspace, size_t given, size_t needed);
// What functions need on the CPU, whatever the arguments.
template <class... Arguments>
size_t no_bytes(const Arguments&...) {
  return 0;
}
// A description or a list.
template <class T>
const T& given(const T* pointer, const char* name) {
  require(pointer != nullptr, std::string(name) + " is null");
  return *pointer;
}

// ---- dtypes ----

[[noreturn]] void refuse_dtype(plinth_dtype dtype, const char* takes);

// Calls f.operator()<T>() for the type of a floating-point dtype.
template <class F>
decltype(auto) with_floating(plinth_dtype dtype, F&& f) {
  switch (dtype) {
    case PLINTH_FLOAT64: return f.template operator()<double>();
    case PLINTH_FLOAT32: return f.template operator()<float>();
    case PLINTH_BFLOAT16: return f.template operator()<BFloat16>();
    case PLINTH_FLOAT16: return f.template operator()<Float16>();
    default: refuse_dtype(dtype, "float64, float32, bfloat16 or float16");
  }
}

template <class F>
decltype(auto) with_any(plinth_dtype dtype, F&& f) {
  switch (dtype) {
    case PLINTH_FLOAT8_E4M3: return f.template operator()<Float8_e4m3>();
    case PLINTH_FLOAT8_E5M2: return f.template operator()<Float8_e5m2>();
    case PLINTH_INT64: return f.template operator()<int64_t>();
    case PLINTH_INT32: return f.template operator()<int32_t>();
    case PLINTH_UINT8: return f.template operator()<uint8_t>();
    case PLINTH_BOOL: return f.template operator()<bool>();
    default: return with_floating(dtype, f);
  }
}

inline void check_floating(plinth_dtype dtype) {
  with_floating(dtype, []<class T>() {});
}
// The elements of a matrix of a floating-point dtype.
inline int64_t check_matrix(plinth_dtype dtype, int64_t rows, int64_t cols) {
  check_floating(dtype);
  return product({{"rows", rows}, {"cols", cols}});
}

template <class T>
const T* in(const void* pointer) {
  return static_cast<const T*>(pointer);
}
template <class T>
T* out(void* pointer) {
  return static_cast<T*>(pointer);
}
// A number a row, in the type that kernels compute in.
constexpr size_t wide_size(plinth_dtype dtype) {
  return dtype == PLINTH_FLOAT64 ? sizeof(double) : sizeof(float);
}
constexpr size_t size_of(plinth_dtype dtype) {
  return plinth::size_of(static_cast<DType>(dtype));
}

inline PhiloxKey key_of(const plinth_philox_key& key) {
  return {.seed = key.seed, .step = key.step, .op = key.op, .sample = key.sample};
}

}  // namespace plinth::kernels::c_api

// PLINTH_CALL: cpu::kernel(arguments...), or cuda::kernel(stream, arguments...) on a GPU.
// PLINTH_CALL_WITH: the same for a GPU kernel whose last argument is a workspace. PLINTH_BYTES:
// what cuda::function(arguments...) asks for, 0 on the CPU.
#ifdef PLINTH_CUDA_BACKEND
#define PLINTH_CALL(kernel, ...)                                      \
  (device == PLINTH_CPU ? ::plinth::kernels::cpu::kernel(__VA_ARGS__) \
                        : ::plinth::kernels::cuda::kernel(stream, __VA_ARGS__))
#define PLINTH_CALL_WITH(kernel, ...)                                 \
  (device == PLINTH_CPU ? ::plinth::kernels::cpu::kernel(__VA_ARGS__) \
                        : ::plinth::kernels::cuda::kernel(stream, __VA_ARGS__, workspace))
#define PLINTH_BYTES(function, ...) \
  (device == PLINTH_CPU ? size_t{0} \
                        : static_cast<size_t>(::plinth::kernels::cuda::function(__VA_ARGS__)))
#else
#define PLINTH_CALL(kernel, ...) \
  (static_cast<void>(stream), ::plinth::kernels::cpu::kernel(__VA_ARGS__))
#define PLINTH_CALL_WITH(kernel, ...) PLINTH_CALL(kernel, __VA_ARGS__)
#define PLINTH_BYTES(function, ...) ::plinth::kernels::c_api::no_bytes(device, __VA_ARGS__)
#endif
