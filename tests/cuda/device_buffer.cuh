#pragma once

// Buffer and OnDevice of kernel_testing.h on a real device, for tests that nvcc compiles: values
// are made on the host, go to the device when data() first asks for them there, and come back.

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace plinth {

// After most errors a process can use the device no more: the next test needs a new one.
inline void check_cuda(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", cudaGetErrorName(status), cudaGetErrorString(status));
  std::fflush(stderr);
  std::abort();
}

template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : host_(static_cast<size_t>(count)) {
    if constexpr (!std::is_integral_v<T>)
      for (T& x : host_) x = T(std::numeric_limits<float>::quiet_NaN());
  }
  ~Buffer() {
    if (device_) check_cuda(cudaFree(device_));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return on_device(); }
  const T* data() const { return on_device(); }
  // As the host made them.
  T* host() { return host_.data(); }
  const T* host() const { return host_.data(); }
  T& operator[](int64_t i) { return host_[i]; }

  std::vector<double> values() const {
    std::vector<T> now = host_;
    if (device_) {
      check_cuda(cudaDeviceSynchronize());
      check_cuda(cudaMemcpy(now.data(), device_, bytes(), cudaMemcpyDeviceToHost));
    }
    std::vector<double> result(now.size());
    for (size_t i = 0; i < now.size(); ++i)
      result[i] = static_cast<double>(static_cast<compute_t<T>>(now[i]));
    return result;
  }
  void copy_from(const std::vector<T>& values) { host_ = values; }
  void fill_random(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    for (T& x : host_) x = static_cast<T>(normal(random));
  }

 private:
  size_t bytes() const { return host_.size() * sizeof(T); }
  T* on_device() const {
    if (!device_) {
      check_cuda(cudaMalloc(&device_, bytes() + 1));
      check_cuda(cudaMemcpy(device_, host_.data(), bytes(), cudaMemcpyHostToDevice));
    }
    return device_;
  }

  std::vector<T> host_;
  mutable T* device_ = nullptr;
};

// A struct in device memory.
template <class T>
struct OnDevice {
  T value;
  Buffer<uint8_t> bytes;

  explicit OnDevice(const T& x) : value(x), bytes(sizeof(T)) {
    std::copy_n(reinterpret_cast<const uint8_t*>(&x), sizeof(T), bytes.host());
  }
  T* pointer() { return reinterpret_cast<T*>(bytes.data()); }
};

}  // namespace plinth
