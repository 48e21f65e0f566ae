#pragma once

// A descriptor of cuDNN's backend API, and its calls as ones that throw. Only kernels/conv includes
// this.

#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/library/cudnn.h"

namespace plinth::kernels::cuda {

// A call of cuDNN failed: what() has its name and the library's words.
class DnnError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(int status, const std::string& call) {
  if (status == dnn::kSuccess) return;
  char why[256] = "";
  dnn::library().last_error(why, sizeof why);
  throw DnnError("cuDNN: " + call + ": status " + std::to_string(status) + ", " + why);
}

class Descriptor {
 public:
  explicit Descriptor(dnn::DescriptorType type) {
    require(dnn::library().create_descriptor(type, &object_), "cudnnBackendCreateDescriptor");
  }
  ~Descriptor() {
    if (object_ != nullptr) dnn::library().destroy_descriptor(object_);
  }
  Descriptor(Descriptor&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  template <class T>
  Descriptor& set(dnn::Attribute attribute, dnn::AttributeType type, std::span<const T> values) {
    require(dnn::library().set_attribute(object_, attribute, type,
                                         static_cast<int64_t>(values.size()), values.data()),
            "cudnnBackendSetAttribute(" + std::to_string(attribute) + ")");
    return *this;
  }
  template <class T>
  Descriptor& set(dnn::Attribute attribute, dnn::AttributeType type, const T& value) {
    return set(attribute, type, std::span<const T>(&value, 1));
  }
  Descriptor& set(dnn::Attribute attribute, const Descriptor& value) {
    return set(attribute, dnn::kTypeDescriptor, value.object_);
  }
  Descriptor& finalize() {
    require(dnn::library().finalize(object_), "cudnnBackendFinalize");
    return *this;
  }

  // How many elements the attribute has, of which up to `values`' size are written there.
  template <class T>
  int64_t get(dnn::Attribute attribute, dnn::AttributeType type, std::span<T> values) const {
    int64_t count = 0;
    require(
        dnn::library().get_attribute(object_, attribute, type, static_cast<int64_t>(values.size()),
                                     &count, values.empty() ? nullptr : values.data()),
        "cudnnBackendGetAttribute(" + std::to_string(attribute) + ")");
    return count;
  }

  void* object() const { return object_; }

 private:
  void* object_ = nullptr;
};

}  // namespace plinth::kernels::cuda
