#pragma once

// The vocabulary in which Plinth's GPU kernels are written: one set of names for what a thread can
// do, with two meanings. nvcc gives inline PTX and plain pointers (ptx/device.h). A C++ compiler
// with PLINTH_EMULATE gives an emulator (emulate/device.h) in which each thread is a fiber,
// asynchronous work is done as late as the language allows, and an access that is out of bounds,
// misaligned, unwritten or not ordered after the one before it is an error with its line.
//
// A kernel is a function template marked PLINTH_KERNEL that takes Global<T> pointers and numbers,
// and is started by launch(). It reads p[i] into a named type (`const float v = p[i]`, not auto).

#if defined(__CUDACC__)
#include "kernels/device/ptx/device.h"
#elif defined(PLINTH_EMULATE)
#include "kernels/device/emulate/device.h"
#else
#error "kernels are compiled by nvcc, or by a C++ compiler with PLINTH_EMULATE"
#endif

#include "kernels/device/collective.h"
#include "kernels/device/math.h"
#include "kernels/device/operand.h"
#include "kernels/device/round.h"
#include "kernels/device/vector.h"
