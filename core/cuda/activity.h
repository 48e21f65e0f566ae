#pragma once

// What a GPU did, and when: kernels, copies and fills, for a profiler. The build picks one of three
// implementations, as of core/cuda/runtime.h:
//
//   activity_cuda.cpp      CUPTI's activity records; the library is loaded when it is first needed
//   activity_absent.cpp    a build without the backend, or whose toolkit has no CUPTI
//   emulated/activity.cpp  what the emulator's device did, by the host's clock
//
// One recording at a time, for the whole process.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace plinth::cuda {

enum class ActivityKind { Kernel, Copy, Fill };

struct Activity {
  ActivityKind kind = ActivityKind::Kernel;
  std::string name;                 // of a kernel, without its parameters; "copy to device"
  int64_t begin_ns = 0;             // of std::chrono::steady_clock
  int64_t end_ns = 0;               //
  uint64_t scope = 0;               // that the host was in when it asked for it; 0: none
  int device = 0;                   // its number
  uint64_t stream = 0;              // a number that tells the device's streams apart
  int64_t bytes = 0;                // of a copy or a fill
  std::array<uint32_t, 3> grid{};   // of a kernel, as the rest
  std::array<uint32_t, 3> block{};  //
  int64_t shared_bytes = 0;         // a block, static and dynamic
  int64_t registers = 0;            // a thread; 0: unknown
};

// Begins to record. Gives "", or why nothing can be recorded here, in words.
std::string start_activities();
// While recording: what this thread asks for from now on belongs to the scope with this id, which
// is not 0; scopes nest.
void enter_activity_scope(uint64_t id);
void leave_activity_scope();
// Waits for the devices' work, ends the recording and gives what was recorded, in no order.
std::vector<Activity> stop_activities();

}  // namespace plinth::cuda
