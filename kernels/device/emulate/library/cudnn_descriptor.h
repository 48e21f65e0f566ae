#pragma once

// The descriptors of the emulator's cuDNN. Only its own files include this.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "kernels/library/cudnn.h"

namespace plinth::emulate {

namespace dnn = kernels::cuda::dnn;

// cudnnStatus_t of what the emulator refuses.
inline constexpr int kDnnBadParameter = 2000;
inline constexpr int kDnnNotFinalized = 2004;
inline constexpr int kDnnNotSupported = 3000;

struct DnnValues {
  int type = 0;  // of an element
  int64_t count = 0;
  std::vector<std::byte> bytes;
};

struct DnnDescriptor {
  int type = 0;
  bool finalized = false;
  int engine = -1;  // of an engine, a configuration and a plan
  std::map<int, DnnValues> attributes = {};

  bool has(int attribute) const { return attributes.count(attribute) > 0; }
  template <class T>
  std::vector<T> all(int attribute) const {
    const DnnValues& values = attributes.at(attribute);
    std::vector<T> result(static_cast<size_t>(values.count));
    std::memcpy(result.data(), values.bytes.data(), values.bytes.size());
    return result;
  }
  template <class T>
  T one(int attribute) const {
    return all<T>(attribute)[0];
  }
  const DnnDescriptor& descriptor(int attribute) const {
    return *one<const DnnDescriptor*>(attribute);
  }
};

// Whether the pointer is of a descriptor that was made and not destroyed.
bool is_live(const void* descriptor);
// Whether all that it refers to, and what these refer to, is live.
bool is_whole(const DnnDescriptor& descriptor);

// An attribute as its descriptor takes it.
struct DnnRule {
  int attribute, type;
  int64_t least, most;  // elements
};
// What may be set of a descriptor, all of which must be before it is finalized.
const std::vector<DnnRule>& rules_of(int descriptor_type);
size_t bytes_of_type(int attribute_type);

// Why a descriptor cannot be finalized; empty if it can.
std::string why_unfinished(const DnnDescriptor& descriptor);

// The single operation of a graph, and its operands.
struct DnnConvolution {
  int type = 0;  // of the operation's descriptor
  const DnnDescriptor *how = nullptr, *x = nullptr, *weight = nullptr, *y = nullptr;
};
DnnConvolution convolution_of(const DnnDescriptor& operation);
const DnnDescriptor& operation_of_plan(const DnnDescriptor& plan);

// The host's memory of a plan's operands.
struct DnnOperands {
  const void *x = nullptr, *weight = nullptr, *y = nullptr;
};
// Does the plan's work. Throws KernelError for memory that is not the device's.
void compute(const DnnConvolution& convolution, const DnnOperands& operands, int engine);

}  // namespace plinth::emulate
