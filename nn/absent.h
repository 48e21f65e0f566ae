#pragma once

// Parameters without memory, of models of which no process is ever to have all: ranks first agree
// on who keeps what, and then each gives memory and values to its own.
//
//   {
//     const nn::AbsentParameters absent;
//     model = std::make_unique<Gpt2>(config);
//     model->reset_parameters(seed);
//     draws = absent.draws(model->named_parameters());
//   }
//   ...                                       ranks cut the model, which moves to its device
//   nn::fill_absent(model->named_parameters(), values);
//
// Such a parameter has its shape, dtype and device. Each of its elements is the same NaN, so that
// what reads it by mistake is seen.

#include <functional>
#include <map>
#include <string>
#include <unordered_map>

#include "nn/state_dict.h"

namespace plinth::nn {

// While one lives, this thread's modules make their initialised parameters absent, and what
// Module::reset_parameters() draws is put off.
class AbsentParameters {
 public:
  AbsentParameters();
  ~AbsentParameters();
  AbsentParameters(const AbsentParameters&) = delete;
  AbsentParameters& operator=(const AbsentParameters&) = delete;
  // This thread's, or null.
  static AbsentParameters* active();

  // Overwrites the whole of a parameter's values.
  using Draw = std::function<void(Tensor& values)>;
  void keep(const Tensor& parameter, Draw draw);
  // What was put off, by the names of `parameters`.
  std::map<std::string, Draw> draws(const StateDict& parameters) const;

 private:
  AbsentParameters* outer_;
  std::unordered_map<const TensorImpl*, Draw> draws_;
};

// `shape` has a dimension at least: is_absent() does not know a scalar.
Tensor absent(const Shape& shape, const TensorOptions& options);
// All its elements are the first one of another tensor.
Tensor absent(const Shape& shape, const Tensor& other);
bool is_absent(const Tensor& tensor);

// The values of an absent parameter, of its shape, on the CPU or where it lies.
using ParameterValues = std::function<Tensor(const NamedTensor& parameter)>;

// Gives memory and values to those of the parameters that are absent, one after the other.
void fill_absent(const StateDict& parameters, const ParameterValues& values);

}  // namespace plinth::nn
