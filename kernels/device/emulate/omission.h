#pragma once

// Leaving out one barrier, wait, fence, commit or arrival of a kernel, to see that the emulator
// finds it missing. A call is known by the place in the compiled kernel from which it came.

#include <string>
#include <vector>

namespace plinth::emulate {

struct CallSite {
  const void* address = nullptr;
  std::string function;
};

// The calls made since the last start_recording(), each place once, in the order of the first.
void start_recording();
std::vector<CallSite> recorded();

// Leaves out every call from there; null: none.
void leave_out(const void* address);

// Whether the call of `function` that returns to `address` is left out. Remembers it.
bool left_out(const void* address, const char* function);

}  // namespace plinth::emulate

// In a function that the compiler does not put into its caller: PLINTH_MAY_BE_LEFT_OUT before it,
// PLINTH_LEAVE_OUT first in it.
#define PLINTH_MAY_BE_LEFT_OUT [[gnu::noinline]]
#define PLINTH_LEAVE_OUT() \
  if (::plinth::emulate::left_out(__builtin_return_address(0), __func__)) return
