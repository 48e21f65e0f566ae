#pragma once

// PLINTH_FOR_EACH_FLOAT(X) expands X(T) for each type that the fused kernels are compiled for.

#include "kernels/types.h"

#define PLINTH_FOR_EACH_FLOAT(X) X(double) X(float) X(BFloat16) X(Float16)

// X(T, N) for each type T of rows and N of what is made of them for matrix products: T itself or,
// beside float, a type of 16 bits.
#define PLINTH_FOR_EACH_FLOAT_AND_NARROW(X) \
  X(double, double)                         \
  X(float, float)                           \
  X(BFloat16, BFloat16)                     \
  X(Float16, Float16)                       \
  X(float, BFloat16)                        \
  X(float, Float16)
