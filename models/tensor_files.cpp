#include "models/tensor_files.h"

#include <cstring>

#include "core/autograd.h"
#include "core/error.h"

namespace plinth {

Tensor tensor_of(const TensorRecord& record, std::span<const std::byte> bytes) {
  const Shape shape{std::span<const int64_t>(record.shape)};
  if (reinterpret_cast<uintptr_t>(bytes.data()) % size_of(record.dtype) != 0) {
    Tensor copy = Tensor::empty(shape, {record.dtype, {}});
    std::memcpy(copy.raw_data(), bytes.data(), bytes.size());
    return copy;
  }
  // Nobody writes to the tensor, so that the bytes stay as they are.
  auto storage = std::make_shared<Storage>(const_cast<std::byte*>(bytes.data()), bytes.size(),
                                           Device{}, [] {});
  return Tensor::from_storage(std::move(storage), shape, shape.contiguous_strides(), 0,
                              record.dtype);
}

nn::StateDict read_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  nn::StateDict tensors;
  for (const TensorRecord& record : file.records())
    tensors.push_back({record.name, tensor_of(record, file.data(record.name)).clone()});
  return tensors;
}

void write_tensors(const std::filesystem::path& path, const nn::StateDict& tensors) {
  const NoGradGuard no_grad;
  nn::StateDict here;
  for (const auto& [name, tensor] : tensors) {
    check(tensor.defined(), ErrorKind::Argument, path.string(), name, " is undefined");
    here.push_back({name, tensor.to(Device{}).contiguous()});
  }
  write_safetensors(path, entries_of(here), {{"format", "pt"}});
}

std::vector<TensorEntry> entries_of(const nn::StateDict& tensors) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    check(tensor.is_contiguous(), ErrorKind::Argument, name, "is not contiguous");
    check(tensor.device().is_cpu(), ErrorKind::Device, name, "is on ", tensor.device(),
          ", expected a copy on the CPU");
    const Shape& shape = tensor.shape();
    entries.push_back({name,
                       tensor.dtype(),
                       {shape.begin(), shape.end()},
                       {static_cast<const std::byte*>(tensor.raw_data()),
                        static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype())}});
  }
  return entries;
}

nn::StateDict copies_of(const nn::StateDict& tensors) {
  const NoGradGuard no_grad;
  nn::StateDict copies;
  for (const auto& [name, tensor] : tensors) {
    const bool is_here = tensor.device().is_cpu();
    copies.push_back({name, is_here ? tensor.clone() : tensor.to(Device{})});
  }
  return copies;
}

}  // namespace plinth
