#pragma once

// Working memory of the CPU kernels: aligned, uninitialised, kept by each thread between calls so
// that a warmed-up step allocates nothing.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace plinth::kernels {

inline constexpr size_t kScratchAlignment = 64;

// A buffer that grows to the largest request. Pointers from get() hold until a larger request.
class Scratch {
 public:
  template <class T>
  T* get(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > size_) {
      data_.reset();
      data_.reset(
          static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kScratchAlignment})));
      size_ = bytes;
    }
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Delete {
    void operator()(std::byte* p) const {
      ::operator delete (p, std::align_val_t{kScratchAlignment});
    }
  };
  std::unique_ptr<std::byte, Delete> data_;
  size_t size_ = 0;
};

}  // namespace plinth::kernels
