#pragma once

// The algorithms that were chosen for matrix products on one kind of device, in memory and in a
// file, so that the next process need not time them again, and computes with the same. The file is
// text, and whole or absent:
//
//   plinth cublaslt 1 <version of the library> <device>
//   <problem> <eight words of the algorithm, in hexadecimal>
//   ...

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/library/cublaslt.h"

namespace plinth::cuda {

class AlgorithmFile {
 public:
  using Algorithm = kernels::cuda::lt::Algorithm;

  // Reads the file, if there is one; an empty path is no file. What another version of the library
  // wrote counts for nothing; what is no such file neither, and a line on stderr says so.
  AlgorithmFile(std::filesystem::path path, std::string device, size_t version);

  std::optional<Algorithm> find(std::string_view problem) const;
  // Adds an algorithm here and to the file. What other processes wrote meanwhile stays, and wins
  // over this. Where the file cannot be written, a line on stderr says so once.
  void keep(std::string_view problem, const Algorithm& algorithm);

 private:
  using Algorithms = std::map<std::string, Algorithm, std::less<>>;

  Algorithms read(bool tells) const;
  void write(const Algorithms& algorithms) const;
  std::string header() const;

  std::filesystem::path path_;
  std::string device_;
  size_t version_;
  Algorithms algorithms_;
  bool told_ = false;
};

// $XDG_CACHE_HOME/plinth/cublaslt-<device>.txt, or the same below $HOME/.cache; empty where neither
// variable is set.
std::filesystem::path algorithm_path(std::string_view device);

}  // namespace plinth::cuda
