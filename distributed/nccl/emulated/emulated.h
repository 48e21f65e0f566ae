#pragma once

// An NCCL for tests, whose other ranks do as this one does: their elements are the same. Its calls
// are in progress for a while, its work is done on the emulator's streams, and it refuses what
// NCCL's documentation forbids.

#include <string>
#include <vector>

namespace plinth::distributed::nccl {

struct EmulatedState {
  bool missing = false;                  // as on a system without the library
  int version = 22809;                   // before 2.27 it has no windows, before 2.19 no memory
  int polls = 2;                         // how often a call is asked after until it is settled
  int init_error = 0;                    // what the next communicator comes to
  std::vector<std::string> calls = {};   // in order, as "ncclAllReduce float32 sum 4"
  std::vector<std::string> faults = {};  // what was called wrongly
  // Where collectives that may use symmetric windows read and write, which has to be the same on
  // all ranks: "ncclAllGather 1+0 to 0+256" is byte 0 of window 1, as they were made, and byte 256
  // of window 0; what lies in none is "none".
  std::vector<std::string> places = {};
  int windows = 0;  // made so far
  // So many further ncclAllReduce are done before the other ranks are gone: then NCCL tells of an
  // error, and the device waits until the communicator is aborted, without a result. Negative: they
  // stay.
  int all_reduces_left = -1;
};

// A copy, and a new start; any thread may call them.
EmulatedState emulated_state();
void set_emulated_state(const EmulatedState& state);
// All communicators come to this error.
void set_emulated_error(int error);

}  // namespace plinth::distributed::nccl
