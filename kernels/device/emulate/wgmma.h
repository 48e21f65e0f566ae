#pragma once

// Products of a warpgroup (wgmma, sm_90a): 128 threads, four warps from a multiple of four on,
// which must all come to each instruction.
//
// d += a b with a of 64 x 16 elements, b of 16 x N (N = 8, 16, ... 256), d in float32. Thread t of
// lane l = t % 32 holds d of row 16 (t / 32) + l / 4 + 8 (i % 4 / 2) and column 8 (i / 4) +
// 2 (l % 4) + i % 2 in d[i]. A in registers has the layout of mma()'s, each warp holding 16 rows. A
// and B in shared memory are found by descriptors (tile.h).
//
// Products run after the thread has gone on. Between any access to their registers and a wgmma that
// uses them stands a wgmma_fence() that names them; after wgmma() they must not be touched before a
// wgmma_wait() that names them and reaches that wgmma's group. Shared memory is read by the async
// proxy (tma.h).

#include "kernels/device/emulate/mma.h"
#include "kernels/device/emulate/registers.h"
#include "kernels/device/tile.h"

namespace plinth::device {

template <class T>
MatrixDescriptor matrix_descriptor(Shared<T> start, uint32_t leading_bytes, uint32_t stride_bytes,
                                   Swizzle swizzle) {
  const size_t offset = Block::current().shared().offset_of(start.raw());
  return encode_descriptor(static_cast<uint32_t>(offset), leading_bytes, stride_bytes, swizzle);
}
// The same, but what is computed of it is computed here: a compiler would keep it in registers from
// where it was computed before, or make all of a matrix's descriptors before a loop.
inline int32_t not_ahead(int32_t x) {
  return x;
}
inline MatrixDescriptor not_ahead(MatrixDescriptor d) {
  return d;
}

namespace detail {

struct WgmmaShape {
  int n;
  Format format;
  Major a_major, b_major;
  float sign;  // of the product
};

// What a thread brings.
struct WgmmaThread {
  float* d;
  const uint32_t* a;  // null if A is in shared memory
  MatrixDescriptor a_matrix, b_matrix;
  bool accumulate;
  uint32_t product;  // its number, given by the meeting
};

void check_registers(const emulate::RegisterUse& use, Location at);
void multiply_warpgroup(const WgmmaShape& shape, WgmmaThread& mine, Location at);
void commit_products();
void wait_for_products(size_t newest);
// Whether a product has been waited for.
bool product_done(uint32_t product);
void set_registers(uint32_t count, bool increase, Location at);

template <class T, int half>
WgmmaShape wgmma_shape(Major a_major, Major b_major, bool negate_a, bool negate_b) {
  static_assert(sizeof(T) == 2 && half % 4 == 0 && half >= 4 && half <= 128);
  return {2 * half, format_of<T>(), a_major, b_major, negate_a != negate_b ? -1.0f : 1.0f};
}

template <int half>
void run_wgmma(const WgmmaShape& shape, Registers<float, half>& d,
               const Registers<uint32_t, 4>* a_registers, MatrixDescriptor a, MatrixDescriptor b,
               bool accumulate, Location at) {
  emulate::RegisterUse& use = d.use();
  check_registers(use, at);
  if (a_registers) check_registers(a_registers->use(), at);
  if (use.product == 0) use.result.assign(d.raw().begin(), d.raw().end());
  WgmmaThread mine{
      use.result.data(), a_registers ? a_registers->raw().data() : nullptr, a, b, accumulate, 0};
  multiply_warpgroup(shape, mine, at);
  use.product = mine.product;
  if (a_registers) a_registers->use().product = mine.product;
}

// Calls f for registers, or for each of an array of them.
template <class R, class F>
void each_registers(R& registers, F f) {
  if constexpr (std::is_array_v<R>) {
    for (auto& element : registers) each_registers(element, f);
  } else {
    f(registers);
  }
}

template <class T, int n>
void give_back(Registers<T, n>& registers) {
  emulate::RegisterUse& use = registers.use();
  if (use.product == 0 || !product_done(use.product)) return;
  use.product = 0;
  if constexpr (std::is_same_v<T, float>) {
    if (!use.result.empty()) std::copy_n(use.result.begin(), n, registers.raw().begin());
    use.result.clear();
  }
}

}  // namespace detail

template <class... R>
PLINTH_MAY_BE_LEFT_OUT void wgmma_fence(R&... registers) {
  PLINTH_LEAVE_OUT();
  (detail::each_registers(registers, [](auto& r) { r.use().touched = false; }), ...);
}

// d = a b (+ d if `accumulate`), or its negative; A and B in shared memory.
template <class T, Major a_major = Major::K, Major b_major = Major::K, bool negate_a = false,
          bool negate_b = false, int half>
void wgmma(Registers<float, half>& d, MatrixDescriptor a, MatrixDescriptor b, bool accumulate,
           Location at = Location::current()) {
  detail::run_wgmma(detail::wgmma_shape<T, half>(a_major, b_major, negate_a, negate_b), d, nullptr,
                    a, b, accumulate, at);
}
// The same with A in registers.
template <class T, Major b_major = Major::K, bool negate_a = false, bool negate_b = false, int half>
void wgmma_from_registers(Registers<float, half>& d, const Registers<uint32_t, 4>& a,
                          MatrixDescriptor b, bool accumulate, Location at = Location::current()) {
  detail::run_wgmma(detail::wgmma_shape<T, half>(Major::K, b_major, negate_a, negate_b), d, &a, {},
                    b, accumulate, at);
}

PLINTH_MAY_BE_LEFT_OUT inline void wgmma_commit() {
  PLINTH_LEAVE_OUT();
  detail::commit_products();
}
// Waits until at most `newest` of the committed groups are unfinished, and gives back the registers
// named, if their products are done: all that are accessed next must be named, for the compiler
// knows of no other dependence.
template <int newest, class... R>
PLINTH_MAY_BE_LEFT_OUT void wgmma_wait(R&... registers) {
  PLINTH_LEAVE_OUT();
  detail::wait_for_products(newest);
  (detail::each_registers(registers, [](auto& r) { detail::give_back(r); }), ...);
}

// Holds a wgmma_wait() that follows back until `never_negative` is computed, and all that it is
// made of: ptxas would move the wait up, before the work that was to fill it. (It takes the wait
// for an instruction of long latency, but does not move it across another that waits.)
inline void hold_wait(float) {}
// Has what the registers hold computed here: a compiler may put it off, and meanwhile keep more
// registers, those that it is computed from.
template <class... R>
void compute_now(R&...) {}

// setmaxnreg by all warps of a warpgroup: gives registers back to the block's pool, or takes from
// it, waiting until it has them. The launch gave each thread as many as PLINTH_KERNEL_BOUNDS
// allows.
template <int count>
void registers_increase(Location at = Location::current()) {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  detail::set_registers(count, true, at);
}
template <int count>
void registers_decrease(Location at = Location::current()) {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  detail::set_registers(count, false, at);
}

}  // namespace plinth::device
