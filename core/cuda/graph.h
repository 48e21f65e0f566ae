#pragma once

// Work of a GPU that is recorded once and replayed by one call: the kernels and copies keep their
// arguments and addresses, so whatever is to differ from replay to replay lies in device memory,
// which the host fills before.
//
//   CapturedGraph graph(device, [&] { y.copy_(matmul(x, w)); });
//   for each batch: copy it to x; graph.launch();
//
// What the work allocates and frees comes from a pool that the graph keeps, so that a replay
// allocates nothing and nobody else's tensors lie there. What was allocated before must outlive the
// graph. Host code within the work runs once, at the capture: it can neither wait for the device
// nor read or write its memory, and an op that tries is an Error(Cuda) that names it.

#include <functional>
#include <string_view>

#include "core/device.h"

namespace plinth::cuda {

class CapturedGraph {
 public:
  // Captures what work() gives to this thread's stream of the device; nothing of it is done yet.
  // Throws what work() throws, and Error(Cuda) for what the runtime cannot capture; the stream is
  // then as before. Memory that is cached but not in use goes back to the driver first.
  CapturedGraph(Device device, const std::function<void()>& work);
  // Waits for the device.
  ~CapturedGraph();
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;

  // Replays it in the order of this thread's stream.
  void launch() const;

 private:
  Device device_;
  int pool_;
  void* graph_ = nullptr;
};

// For what the host would do only once, at the capture: throws Error(Cuda), which names the op that
// runs, if the stream's work is being captured. `act` says what, "waits for the device".
void refuse_capture(Stream stream, std::string_view act);

}  // namespace plinth::cuda
