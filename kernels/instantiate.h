#pragma once

// PLINTH_FOR_EACH_FLOAT(X) expands X(T) for each type that the fused kernels are compiled for.

#include "kernels/types.h"

#define PLINTH_FOR_EACH_FLOAT(X) X(double) X(float) X(BFloat16) X(Float16)
