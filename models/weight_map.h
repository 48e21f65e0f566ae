#pragma once

// Between a model's parameters, or buffers that files have, and the tensors of a Hugging Face
// checkpoint.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/io/checkpoint_files.h"
#include "nn/module.h"

namespace plinth {

// A tensor of a file, and the rows of a parameter that hold it.
struct WeightSlice {
  std::string file_name;    // "transformer.h.0.attn.c_attn.weight"
  std::string parameter;    // "blocks.0.attention.qkv.weight"
  bool transposed = false;  // [in, out] in the file, [out, in] here
  int64_t first_row = 0;
  int64_t rows = -1;         // -1: all
  int64_t leading_ones = 0;  // dimensions of size 1 that the file's tensor has before the others
};

// Copies every slice from the checkpoint into the parameters, converting dtypes. A name may lack
// its first part ("transformer.", "model."), as where only the trunk was saved, and the weight and
// bias of a "LayerNorm" may be called gamma and beta, as in early checkpoints. Throws
// Error(Format) that names the file and each tensor that is missing, has another shape, or belongs
// to no parameter (masks and rotary tables that old files carry are passed over).
void read_weights(nn::Module& model, const std::vector<WeightSlice>& slices,
                  const SafetensorsCheckpoint& checkpoint, const std::filesystem::path& path);

// The same into tensors by the names of parameters.
void read_weights(const nn::StateDict& parameters, const std::vector<WeightSlice>& slices,
                  const SafetensorsCheckpoint& checkpoint, const std::filesystem::path& path);

// Contiguous copies of the parameters in the file's names, layout and dtype. `values` replaces the
// parameters by name where given (an average of the weights, say).
nn::StateDict export_weights(const nn::Module& model, const std::vector<WeightSlice>& slices,
                             std::optional<DType> dtype = std::nullopt,
                             const nn::StateDict& values = {});

}  // namespace plinth
