#pragma once

// Elements that are moved and not computed with: one instance of a kernel for each size.

#include <cstddef>
#include <cstdint>

namespace plinth::kernels {

// Calls f(typed x, typed out) with an unsigned type of the element's size.
template <class F>
void with_bits(size_t element_size, const void* x, void* out, F f) {
  const auto call = [&]<class T>(T) { f(static_cast<const T*>(x), static_cast<T*>(out)); };
  switch (element_size) {
    case 1: return call(uint8_t{});
    case 2: return call(uint16_t{});
    case 4: return call(uint32_t{});
    default: return call(uint64_t{});
  }
}

}  // namespace plinth::kernels
