#pragma once

// Integer atomics, memory fences, and loads and stores of flags, at the scope of the GPU.

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace plinth::device {

PLINTH_DEVICE void memory_fence() {
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
}

namespace detail {

template <class T>
concept AtomicInteger = std::is_integral_v<T> &&(sizeof(T) == 4 || sizeof(T) == 8);

// CUDA's built-in atomics know int, unsigned and (unsigned) long long.
template <class T>
using AtomicType =
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int, unsigned>,
                       std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>>;
template <class T>
using AtomicBits = std::make_unsigned_t<AtomicType<T>>;

template <class T>
PLINTH_DEVICE AtomicType<T>* atomic_pointer(T* p) {
  return reinterpret_cast<AtomicType<T>*>(p);
}
template <class T>
PLINTH_DEVICE AtomicBits<T>* atomic_bits(T* p) {
  return reinterpret_cast<AtomicBits<T>*>(p);
}

}  // namespace detail

template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_add(T* to, std::type_identity_t<T> value) {
  return static_cast<T>(
      atomicAdd(detail::atomic_bits(to), static_cast<detail::AtomicBits<T>>(value)));
}
template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_max(T* to, std::type_identity_t<T> value) {
  return static_cast<T>(
      atomicMax(detail::atomic_pointer(to), static_cast<detail::AtomicType<T>>(value)));
}
template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_min(T* to, std::type_identity_t<T> value) {
  return static_cast<T>(
      atomicMin(detail::atomic_pointer(to), static_cast<detail::AtomicType<T>>(value)));
}
template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_exchange(T* to, std::type_identity_t<T> value) {
  return static_cast<T>(
      atomicExch(detail::atomic_bits(to), static_cast<detail::AtomicBits<T>>(value)));
}
template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_compare_exchange(T* to, std::type_identity_t<T> expected,
                                        std::type_identity_t<T> value) {
  using Bits = detail::AtomicBits<T>;
  return static_cast<T>(
      atomicCAS(detail::atomic_bits(to), static_cast<Bits>(expected), static_cast<Bits>(value)));
}

template <detail::AtomicInteger T>
PLINTH_DEVICE T atomic_add_acq_rel(T* to, std::type_identity_t<T> value) {
  if constexpr (sizeof(T) == 4) {
    uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(__cvta_generic_to_global(to)), "r"(static_cast<uint32_t>(value))
                 : "memory");
    return static_cast<T>(before);
  } else {
    uint64_t before;
    asm volatile("atom.acq_rel.gpu.global.add.u64 %0, [%1], %2;"
                 : "=l"(before)
                 : "l"(__cvta_generic_to_global(to)), "l"(static_cast<uint64_t>(value))
                 : "memory");
    return static_cast<T>(before);
  }
}

// `op` is a PTX instruction without its width; it takes a register and an address in global memory.
#define PLINTH_FLAG_LOAD(op, value, from)              \
  if constexpr (sizeof(value) == 4) {                  \
    uint32_t bits;                                     \
    asm volatile(op ".u32 %0, [%1];"                   \
                 : "=r"(bits)                          \
                 : "l"(__cvta_generic_to_global(from)) \
                 : "memory");                          \
    value = static_cast<decltype(value)>(bits);        \
  } else {                                             \
    uint64_t bits;                                     \
    asm volatile(op ".u64 %0, [%1];"                   \
                 : "=l"(bits)                          \
                 : "l"(__cvta_generic_to_global(from)) \
                 : "memory");                          \
    value = static_cast<decltype(value)>(bits);        \
  }
#define PLINTH_FLAG_STORE(op, to, value)                                  \
  if constexpr (sizeof(value) == 4) {                                     \
    asm volatile(op ".u32 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), \
                 "r"(static_cast<uint32_t>(value))                        \
                 : "memory");                                             \
  } else {                                                                \
    asm volatile(op ".u64 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), \
                 "l"(static_cast<uint64_t>(value))                        \
                 : "memory");                                             \
  }

template <class T>
PLINTH_DEVICE std::remove_const_t<T> load_relaxed(T* from) {
  std::remove_const_t<T> value;
  PLINTH_FLAG_LOAD("ld.relaxed.gpu.global", value, from)
  return value;
}
template <class T>
PLINTH_DEVICE std::remove_const_t<T> load_acquire(T* from) {
  std::remove_const_t<T> value;
  PLINTH_FLAG_LOAD("ld.acquire.gpu.global", value, from)
  return value;
}
template <detail::AtomicInteger T>
PLINTH_DEVICE void store_relaxed(T* to, std::type_identity_t<T> value) {
  PLINTH_FLAG_STORE("st.relaxed.gpu.global", to, value)
}
template <detail::AtomicInteger T>
PLINTH_DEVICE void store_release(T* to, std::type_identity_t<T> value) {
  PLINTH_FLAG_STORE("st.release.gpu.global", to, value)
}

#undef PLINTH_FLAG_LOAD
#undef PLINTH_FLAG_STORE

}  // namespace plinth::device
