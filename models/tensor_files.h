#pragma once

// Tensors to and from safetensors files.

#include <filesystem>
#include <span>
#include <vector>

#include "core/io/safetensors.h"
#include "nn/state_dict.h"

namespace plinth {

// A tensor over a record's bytes, which must outlive it; a copy where they are not aligned.
Tensor tensor_of(const TensorRecord& record, std::span<const std::byte> bytes);

// Copies of all tensors of a file. Throws Error(Io) or Error(Format).
nn::StateDict read_tensors(const std::filesystem::path& path);
// Writes a file of these tensors, of any device and strides, that read_tensors() and the package
// safetensors read. It is whole, or as it was before. Throws Error(Io), and Error(Argument) for
// names that the format does not take.
//
//   write_tensors("model.safetensors", model.state_dict());
//   model.load_state_dict(read_tensors("model.safetensors"));
void write_tensors(const std::filesystem::path& path, const nn::StateDict& tensors);

// The tensors, which must be contiguous, on the CPU, and outlive the entries, as a writer takes
// them.
std::vector<TensorEntry> entries_of(const nn::StateDict& tensors);

// Contiguous copies on the CPU that nobody else writes to.
nn::StateDict copies_of(const nn::StateDict& tensors);

}  // namespace plinth
