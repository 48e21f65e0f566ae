#pragma once

// Where a tensor lives, and the queue that its work goes to.

#include <iosfwd>
#include <string>
#include <string_view>

namespace plinth {

enum class DeviceType : unsigned char { CPU, CUDA };

struct Device {
  DeviceType type = DeviceType::CPU;
  int index = 0;

  bool is_cpu() const { return type == DeviceType::CPU; }
  bool is_cuda() const { return type == DeviceType::CUDA; }
  bool operator==(const Device&) const = default;

  // Reads "cpu", "cuda" or "cuda:1"; throws Error(Argument) for anything else.
  static Device parse(std::string_view text);
};

// "cpu" or "cuda:0".
std::string to_string(Device device);
std::ostream& operator<<(std::ostream& out, Device device);

// A queue of device work. The CPU has one, in which work is done at once; `handle` is the
// cudaStream_t of a CUDA stream.
struct Stream {
  Device device;
  void* handle = nullptr;

  bool operator==(const Stream&) const = default;
};

}  // namespace plinth
