#pragma once

// The tensors of a file of any format, for a model's parameters.

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/weight_map.h"

namespace plinth {

class WeightSource {
 public:
  // `read` gives the tensor of one of the records, of its shape. It is called when all that is
  // needed is known to be there, and what it gives is copied before the next call.
  WeightSource(std::vector<TensorRecord> records, std::function<Tensor(const TensorRecord&)> read);
  // Those of a checkpoint, which must outlive it.
  explicit WeightSource(const SafetensorsCheckpoint& checkpoint);

  const std::vector<TensorRecord>& records() const { return records_; }
  // nullptr if there is none of that name.
  const TensorRecord* find(std::string_view name) const;
  Tensor read(const TensorRecord& record) const { return read_(record); }

 private:
  std::vector<TensorRecord> records_;
  std::function<Tensor(const TensorRecord&)> read_;
  std::map<std::string, size_t, std::less<>> index_;
};

// What each of a model's parameters has in a source: all of it is there, and fits.
class CheckedWeights {
 public:
  // `parameters` tell names and shapes, and may be absent. The source outlives this. Throws what
  // read_weights() does.
  CheckedWeights(const nn::StateDict& parameters, const std::vector<WeightSlice>& slices,
                 const WeightSource& source, const std::filesystem::path& path);

  // Copies into `values`, of the parameter's shape, what the source has of it.
  void read(const std::string& parameter, const Tensor& values) const;

 private:
  struct Piece {
    WeightSlice slice;
    const TensorRecord* record;
  };

  const WeightSource& source_;
  std::map<std::string, std::vector<Piece>, std::less<>> pieces_;
};

// read_weights() of weight_map.h, from any source.
void read_weights(const nn::StateDict& parameters, const std::vector<WeightSlice>& slices,
                  const WeightSource& source, const std::filesystem::path& path);

}  // namespace plinth
