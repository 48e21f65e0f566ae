// The entry that libFuzzer calls, of the one target that the program has.

#include <cstddef>
#include <cstdint>

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  plinth::fuzz::run(plinth::fuzz::targets().front(), {reinterpret_cast<const char*>(data), size});
  return 0;
}
