#pragma once

// Tests that need NCCL, or the emulator's.

#include "distributed/nccl/library.h"
#include "tests/cuda/device.h"

#ifdef PLINTH_EMULATE
#include "distributed/nccl/emulated/emulated.h"
#endif

namespace plinth {

class OnDeviceWithNccl : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
#ifdef PLINTH_EMULATE
    distributed::nccl::set_emulated_state({});
#endif
    const std::string& error = distributed::nccl::library().error;
    if (!error.empty()) GTEST_SKIP() << error;
  }
};

}  // namespace plinth
