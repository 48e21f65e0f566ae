#pragma once

// The vocabulary of kernels (kernels/device/device.h) on the GPU: built-ins where CUDA has them,
// inline PTX where it has none. PTX ISA 9.0 names the instruction of each.

#include <cuda_runtime.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/device/launch_failure.h"
#include "kernels/types.h"

#define PLINTH_DEVICE __device__ __forceinline__
#define PLINTH_KERNEL __global__
#define PLINTH_UNROLL _Pragma("unroll")
#define PLINTH_NO_UNROLL _Pragma("unroll 1")

#define PLINTH_KERNEL_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define PLINTH_GRID_CONSTANT __grid_constant__

// After the macros.
#include "kernels/device/ptx/atomics.h"
#include "kernels/device/ptx/cluster.h"
#include "kernels/device/ptx/mbarrier.h"
#include "kernels/device/ptx/mma.h"
#include "kernels/device/ptx/tma.h"
#include "kernels/device/ptx/warp.h"
#include "kernels/device/ptx/wgmma.h"

namespace plinth::device {

template <class T>
using Global = T*;
template <class T>
using Shared = T*;
using Index = int64_t;
using Dim3 = dim3;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kHopper = true;
#else
inline constexpr bool kHopper = false;
#endif

// ---- where a thread is ----

PLINTH_DEVICE uint32_t thread_index() {
  return threadIdx.x;
}
PLINTH_DEVICE uint32_t block_threads() {
  return blockDim.x;
}
PLINTH_DEVICE uint3 block_index() {
  return blockIdx;
}
PLINTH_DEVICE Dim3 grid_blocks() {
  return gridDim;
}
// ---- barriers ----

PLINTH_DEVICE void block_sync() {
  __syncthreads();
}
PLINTH_DEVICE void named_sync(uint32_t id, uint32_t threads) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
PLINTH_DEVICE void named_arrive(uint32_t id, uint32_t threads) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- memory ----

extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];

template <class T>
PLINTH_DEVICE T* shared_array(size_t offset, size_t) {
  return reinterpret_cast<T*>(dynamic_shared_memory + offset);
}

template <class V, class T>
PLINTH_DEVICE V load_vector(const T* from) {
  return *reinterpret_cast<const V*>(from);
}
// To global memory. The compiler copies a struct element by element, and does not always join the
// stores again: hence the instruction by name.
template <class V, class T>
PLINTH_DEVICE void store_vector(T* to, const V& value) {
  struct Words {
    uint32_t word[sizeof(V) < 4 ? 1 : sizeof(V) / 4];
  };
  if constexpr (sizeof(V) == 16) {
    const Words w = std::bit_cast<Words>(value);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(w.word[0]), "r"(w.word[1]), "r"(w.word[2]), "r"(w.word[3])
                 : "memory");
  } else if constexpr (sizeof(V) == 8) {
    const Words w = std::bit_cast<Words>(value);
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(w.word[0]), "r"(w.word[1])
                 : "memory");
  } else {
    *reinterpret_cast<V*>(to) = value;
  }
}
template <class V, class T>
PLINTH_DEVICE void store_shared_vector(T* to, const V& value) {
  *reinterpret_cast<V*>(to) = value;
}

// ---- cp.async ----

template <int kBytes, class T>
PLINTH_DEVICE void copy_async(T* to, const T* from, bool valid = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  const auto shared = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int source_bytes = valid ? kBytes : 0;  // the rest is filled with zeros
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
                 "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from),
                 "n"(kBytes), "r"(source_bytes)
                 : "memory");
  }
}
PLINTH_DEVICE void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int newest>
PLINTH_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

// ---- arithmetic that has its own instructions ----

PLINTH_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PLINTH_DEVICE float fast_rsqrt(float x) {
  return rsqrtf(x);
}

// ---- the thread's current device ----

struct DeviceLimits {
  int capability = 0;  // 10 major + minor
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // that a block can have
};

inline DeviceLimits device_limits() {
  int device = 0, major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return {10 * major + minor, multiprocessors, static_cast<size_t>(shared_bytes)};
}

// ---- launching ----

using Stream = cudaStream_t;

struct LaunchShape {
  Dim3 grid;
  Dim3 block;
  size_t shared_bytes = 0;
  Dim3 cluster{};                  // blocks that run together
  bool overlaps_previous = false;  // programmatic dependent launch: dependency_wait() in the kernel
  bool together = false;           // all blocks run at once, or the launch fails
};

// Throws nothing: take_launch_failure() tells of a launch that failed.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
            Stream stream, Arguments... arguments) {
  constexpr size_t kWithoutAsking = size_t{48} << 10;
  cudaError_t error = cudaSuccess;
  if (shape.shared_bytes > kWithoutAsking) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.shared_bytes));
  }
  cudaLaunchAttribute attributes[3];
  unsigned count = 0;
  if (shape.cluster.x * shape.cluster.y * shape.cluster.z > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim = {shape.cluster.x, shape.cluster.y, shape.cluster.z};
    ++count;
  }
  if (shape.overlaps_previous) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count].val.programmaticStreamSerializationAllowed = 1;
    ++count;
  }
  if (shape.together) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count].val.cooperative = 1;
    ++count;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  if (error == cudaSuccess)
    error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that is noted must not come back at the next call
  note_launch_failure(name, cudaGetErrorString(error));
}

}  // namespace plinth::device
