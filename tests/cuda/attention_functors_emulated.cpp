// The same source, for the emulator's device.
#include "tests/cuda/attention_functors.cu"
