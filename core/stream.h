#pragma once

// The queues that a device's work goes to. A CUDA device does a stream's work in order, while the
// host goes on; work of two streams is ordered only by events. The CPU has one stream, whose work
// is done at once, so that all of this holds for it without cost.

#include "core/device.h"

namespace plinth {

// The stream that this thread's ops on `device` use: the device's own until a StreamGuard says
// otherwise. Throws Error(Device) for a device that there is not.
Stream current_stream(Device device);

// Waits until all work that any thread gave to the device, or to the stream, is done. Throws
// Error(Cuda) if some of it failed, or while this thread captures a CUDA graph (core/cuda/graph.h);
// and the error of an index that work on the device found to be out of range (core/index_check.h).
void synchronize(Device device);
void synchronize(Stream stream);

// A stream of its own, for copies or communication beside the computation. The next owner of one
// may find work of this one ahead of its own.
class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_;
};

// While it lives, this thread's ops on the stream's device use the stream.
class StreamGuard {
 public:
  explicit StreamGuard(Stream stream);
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  Stream previous_;
};

// A mark in a stream's work.
class Event {
 public:
  // A timed event costs a little more.
  explicit Event(Device device, bool timed = false);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  void record(Stream stream);
  // Whether the work before the mark is done.
  bool is_done() const;
  // Waits for the work before the mark; throws as plinth::synchronize does.
  void synchronize() const;
  // The stream's later work waits for the mark.
  void hold_back(Stream stream) const;
  // Milliseconds from this mark to a later one, both timed and done.
  double elapsed_ms(const Event& later) const;

 private:
  Device device_;
  void* handle_ = nullptr;  // null on the CPU
};

}  // namespace plinth
