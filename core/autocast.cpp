#include "core/autocast.h"

#include <utility>

#include "core/error.h"

namespace plinth {
namespace {

thread_local DType current = DType::Float32;

bool converts(const Tensor& x) {
  return current != DType::Float32 && x.defined() && is_floating_point(x.dtype()) &&
         x.dtype() != DType::Float64;
}

DType checked(DType dtype) {
  check(dtype == DType::BFloat16 || dtype == DType::Float16 || dtype == DType::Float32,
        ErrorKind::DType, "AutocastGuard", "got dtype ", name(dtype),
        ", takes bfloat16, float16, or float32 for none");
  return dtype;
}

}  // namespace

AutocastGuard::AutocastGuard(DType dtype) : previous_(std::exchange(current, checked(dtype))) {}
AutocastGuard::~AutocastGuard() {
  current = previous_;
}

DType autocast_dtype() {
  return current;
}

std::optional<DType> autocast_dtype_of(const Tensor& x) {
  return converts(x) ? std::optional(current) : std::nullopt;
}
Tensor autocast(const Tensor& x) {
  return converts(x) ? x.to(current) : x;
}
Tensor autocast_float32(const Tensor& x) {
  return converts(x) ? x.to(DType::Float32) : x;
}

}  // namespace plinth
