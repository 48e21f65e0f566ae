#pragma once

// Elementwise kernels on the GPU: the contract of elementwise.h, on device pointers and a stream,
// for every shape and stride.
//
// Trick: the loop's dimensions are sorted and joined until equal layouts are one dimension; 16
// bytes of the widest operand move in one access where all are contiguous there, or repeat an
// element (a bias, a scalar, a column), and two such vectors a thread are on their way at once.
// Other layouts move one element a time, four a thread; a copy whose inner dimensions are swapped
// goes through a tile of shared memory, so that both sides are read and written along their own
// rows.
//
// Bound: memory, one read an input element and one write an output element; an operand that
// repeats is read from cache. Functions are CUDA's own, within
// 4 ulp.

#include <cstdint>

#include "kernels/elementwise/elementwise.h"

namespace plinth::kernels::cuda {

template <class T>
void unary(void* stream, UnaryOp op, const Loop<2>& loop, const T* x, T* out);

template <class T>
void binary(void* stream, BinaryOp op, const Loop<3>& loop, const T* x, const T* y, T* out);

template <class T, class Y>
void add_scaled(void* stream, const Loop<3>& loop, const T* x, const Y* y, double alpha, T* out);

template <class T>
void compare(void* stream, CompareOp op, const Loop<3>& loop, const T* x, const T* y, bool* out);

void logical(void* stream, LogicalOp op, const Loop<3>& loop, const bool* x, const bool* y,
             bool* out);

template <class T>
void where(void* stream, const Loop<4>& loop, const bool* condition, const T* x, const T* y,
           T* out);

template <class From, class To>
void copy(void* stream, const Loop<2>& loop, const From* x, To* out);

// out = value everywhere; T is any dtype's type.
template <class T>
void fill(void* stream, const Loop<1>& loop, T value, T* out);

}  // namespace plinth::kernels::cuda
