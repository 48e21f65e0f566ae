#pragma once

// Bulk copies between global and shared memory (cp.async.bulk, sm_90); emulate/tma.h says what each
// does.

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/device/ptx/mbarrier.h"
#include "kernels/device/tile.h"
#include "kernels/types.h"

namespace plinth::device {

struct TensorMap {
  CUtensorMap map;
};

namespace detail {

template <class T>
constexpr CUtensorMapDataType tensor_map_type() {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  } else if constexpr (std::is_same_v<T, Float16>) {
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  } else if constexpr (std::is_same_v<T, float>) {
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return CU_TENSOR_MAP_DATA_TYPE_INT32;
  } else {
    static_assert(std::is_same_v<T, uint8_t>);
    return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
}

// cuTensorMapEncodeTiled of the driver, which is not linked; null without a driver.
inline auto* encode_tiled() {
  using Function = decltype(&cuTensorMapEncodeTiled);
  static Function* const found = [] {
    static Function function = nullptr;
    void* address = nullptr;
    cudaDriverEntryPointQueryResult status = cudaDriverEntryPointSymbolNotFound;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, 12000,
                                         cudaEnableDefault, &status) == cudaSuccess &&
        status == cudaDriverEntryPointSuccess) {
      function = reinterpret_cast<Function>(address);
    }
    return &function;
  }();
  return *found;
}

inline TensorMap encode(CUtensorMapDataType type, const void* base, const TileShape& shape) {
  if (const char* error = tile_shape_error(base, shape))
    throw std::invalid_argument(std::string("tensor map: ") + error);
  auto* const encode_map = encode_tiled();
  if (!encode_map) throw std::runtime_error("tensor map: the driver has no cuTensorMapEncodeTiled");
  cuuint64_t sizes[5], strides[5];
  cuuint32_t box[5], steps[5];
  for (int i = 0; i < shape.rank; ++i) {
    sizes[i] = static_cast<cuuint64_t>(shape.sizes[i]);
    box[i] = static_cast<cuuint32_t>(shape.box[i]);
    steps[i] = 1;
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(shape.strides[i]);
  }
  constexpr CUtensorMapSwizzle kSwizzles[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                              CU_TENSOR_MAP_SWIZZLE_64B,
                                              CU_TENSOR_MAP_SWIZZLE_128B};
  TensorMap result;
  const CUresult status =
      encode_map(&result.map, type, static_cast<cuuint32_t>(shape.rank), const_cast<void*>(base),
                 sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                 kSwizzles[static_cast<int>(shape.swizzle)], CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw std::runtime_error("tensor map: cuTensorMapEncodeTiled returns " +
                             std::to_string(static_cast<int>(status)));
  }
  return result;
}

}  // namespace detail

template <class T>
TensorMap make_tensor_map(const T* base, std::initializer_list<int64_t> sizes,
                          std::initializer_list<int64_t> strides,
                          std::initializer_list<int64_t> box, Swizzle swizzle) {
  return detail::encode(detail::tensor_map_type<T>(), base,
                        tile_shape(sizeof(T), sizes, strides, box, swizzle));
}

// ---- fences between ordinary and asynchronous accesses ----

PLINTH_DEVICE void fence_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
PLINTH_DEVICE void fence_async_all() {
  asm volatile("fence.proxy.async;" ::: "memory");
}

// ---- to shared memory ----

// One instruction for each number of coordinates.
#define PLINTH_COORDINATES_1 "r"(at[0])
#define PLINTH_COORDINATES_2 PLINTH_COORDINATES_1, "r"(at[1])
#define PLINTH_COORDINATES_3 PLINTH_COORDINATES_2, "r"(at[2])
#define PLINTH_COORDINATES_4 PLINTH_COORDINATES_3, "r"(at[3])
#define PLINTH_COORDINATES_5 PLINTH_COORDINATES_4, "r"(at[4])
// X(rank, the coordinates' text), with the names of five operands.
#define PLINTH_FOR_EACH_RANK(X, a, b, c, d, e)        \
  static_assert(n >= 1 && n <= 5);                    \
  if constexpr (n == 1) X(1, a);                      \
  if constexpr (n == 2) X(2, a ", " b);               \
  if constexpr (n == 3) X(3, a ", " b ", " c);        \
  if constexpr (n == 4) X(4, a ", " b ", " c ", " d); \
  if constexpr (n == 5) X(5, a ", " b ", " c ", " d ", " e)

template <int n, class T>
PLINTH_DEVICE void tma_load(T* to, const TensorMap& map, const int32_t (&at)[n],
                            Mbarrier* barrier) {
#define PLINTH_LOAD(rank, coordinates)                                                      \
  asm volatile(                                                                             \
      "cp.async.bulk.tensor." #rank                                                         \
      "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" coordinates \
      "}], [%2];" ::"r"(shared_address(to)),                                                \
      "l"(&map), "r"(shared_address(barrier)), PLINTH_COORDINATES_##rank                    \
      : "memory")
  PLINTH_FOR_EACH_RANK(PLINTH_LOAD, "%3", "%4", "%5", "%6", "%7");
#undef PLINTH_LOAD
}

template <int n, class T>
PLINTH_DEVICE void tma_load_multicast(T* to, const TensorMap& map, const int32_t (&at)[n],
                                      Mbarrier* barrier, uint16_t blocks) {
#define PLINTH_LOAD(rank, coordinates)                                                         \
  asm volatile("cp.async.bulk.tensor." #rank                                                   \
               "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster" \
               " [%0], [%1, {" coordinates "}], [%2], %3;" ::"r"(shared_address(to)),          \
               "l"(&map), "r"(shared_address(barrier)), "h"(blocks), PLINTH_COORDINATES_##rank \
               : "memory")
  PLINTH_FOR_EACH_RANK(PLINTH_LOAD, "%4", "%5", "%6", "%7", "%8");
#undef PLINTH_LOAD
}

PLINTH_DEVICE void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

template <class T>
PLINTH_DEVICE void bulk_load(T* to, const T* from, uint32_t bytes, Mbarrier* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

// ---- to global memory ----

template <int n, class T>
PLINTH_DEVICE void tma_store(const TensorMap& map, const int32_t (&at)[n], T* from) {
#define PLINTH_STORE(rank, coordinates)                                                           \
  asm volatile("cp.async.bulk.tensor." #rank                                                      \
               "d.global.shared::cta.tile.bulk_group [%0, {" coordinates "}], [%1];" ::"l"(&map), \
               "r"(shared_address(from)), PLINTH_COORDINATES_##rank                               \
               : "memory")
  PLINTH_FOR_EACH_RANK(PLINTH_STORE, "%2", "%3", "%4", "%5", "%6");
#undef PLINTH_STORE
}
#undef PLINTH_FOR_EACH_RANK
#undef PLINTH_COORDINATES_1
#undef PLINTH_COORDINATES_2
#undef PLINTH_COORDINATES_3
#undef PLINTH_COORDINATES_4
#undef PLINTH_COORDINATES_5

template <class T>
PLINTH_DEVICE void bulk_store(T* to, T* from, uint32_t bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(to)),
               "r"(shared_address(from)), "r"(bytes)
               : "memory");
}
PLINTH_DEVICE void bulk_add(float* to, float* from, uint32_t bytes) {
  asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(
                   __cvta_generic_to_global(to)),
               "r"(shared_address(from)), "r"(bytes)
               : "memory");
}
PLINTH_DEVICE void bulk_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
template <int newest>
PLINTH_DEVICE void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(newest) : "memory");
}
template <int newest>
PLINTH_DEVICE void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(newest) : "memory");
}

}  // namespace plinth::device
