#pragma once

// Building and writing an ONNX model (https://onnx.ai/onnx/repo-docs/IR.html): nodes, and constant
// tensors, whose bytes are written from where they lie. The file is a protocol buffer of onnx.proto
// (version 3 of its syntax); Debian's libonnx would hold every weight a second time to write it,
// and protocol buffers of more than 2 GiB are not read by anyone, so that the weights of large
// models lie in a file of their own.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace plinth {

class OnnxGraph {
 public:
  // The operators that nodes name are those of this set, readable from this version of the format.
  static constexpr int64_t kOperatorSet = 20;
  static constexpr int64_t kFormatVersion = 9;

  // A tensor in the graph, by name.
  using Value = std::string;
  using Attribute =
      std::pair<std::string_view, std::variant<int64_t, float, std::string, std::vector<int64_t>>>;
  // A size that is known, or the name of one that is not.
  using Dimension = std::variant<int64_t, std::string>;

  Value input(const std::string& name, DType dtype, const std::vector<Dimension>& shape);
  void output(const Value& value, const std::string& name, DType dtype,
              const std::vector<Dimension>& shape);

  // A contiguous float32 or int64 tensor on the CPU. Throws Error(Argument) for a name that is
  // there with another value.
  Value constant(const std::string& name, const Tensor& value);
  // int64 [count], and a float32 scalar.
  Value integers(const std::vector<int64_t>& values);
  Value number(float value);

  // The output of a new node of an operator, or all of several.
  Value node(std::string_view operation, const std::vector<Value>& inputs,
             const std::vector<Attribute>& attributes = {});
  std::vector<Value> nodes(size_t outputs, std::string_view operation,
                           const std::vector<Value>& inputs,
                           const std::vector<Attribute>& attributes = {});

  // Writes the file, and constants of more than `max_inline_bytes` together to a second one of that
  // name with ".data". Throws Error(Io).
  void write(const std::filesystem::path& path,
             uint64_t max_inline_bytes = uint64_t{1} << 30) const;

 private:
  struct Constant {
    std::string name;
    Tensor value;
  };

  std::string text_before(const Constant& constant) const;

  std::string nodes_, inputs_, outputs_;  // as the graph's fields
  std::vector<Constant> constants_;
  std::map<std::string, size_t> constant_index_;
  int64_t made_ = 0;  // values, which are named by it
};

}  // namespace plinth
