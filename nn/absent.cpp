#include "nn/absent.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::nn {
namespace {

thread_local AbsentParameters* innermost = nullptr;

}  // namespace

AbsentParameters::AbsentParameters() : outer_(std::exchange(innermost, this)) {}
AbsentParameters::~AbsentParameters() {
  innermost = outer_;
}
AbsentParameters* AbsentParameters::active() {
  return innermost;
}

void AbsentParameters::keep(const Tensor& parameter, Draw draw) {
  draws_.insert_or_assign(parameter.impl(), std::move(draw));
}

std::map<std::string, AbsentParameters::Draw> AbsentParameters::draws(
    const StateDict& parameters) const {
  std::map<std::string, Draw> result;
  for (const auto& [name, tensor] : parameters) {
    const auto found = draws_.find(tensor.impl());
    if (found != draws_.end()) result.emplace(name, found->second);
  }
  return result;
}

Tensor absent(const Shape& shape, const TensorOptions& options) {
  check(shape.dim() > 0, ErrorKind::Shape, "absent", "got a scalar, takes a dimension or more");
  return absent(shape, full({1}, std::numeric_limits<double>::quiet_NaN(), options));
}

Tensor absent(const Shape& shape, const Tensor& other) {
  const Shape strides = Shape::filled(shape.dim(), 0);
  return Tensor::from_storage(other.storage(), shape, strides, 0, other.dtype());
}

// No parameter with memory is such an expanded view.
bool is_absent(const Tensor& tensor) {
  return tensor.dim() > 0 &&
         std::ranges::all_of(tensor.strides(), [](int64_t s) { return s == 0; });
}

void fill_absent(const StateDict& parameters, const ParameterValues& values) {
  const NoGradGuard no_grad;
  for (const NamedTensor& entry : parameters) {
    Tensor parameter = entry.tensor;
    if (!is_absent(parameter)) continue;
    const Tensor filled = values(entry);
    check(filled.shape() == parameter.shape() && filled.dtype() == parameter.dtype(),
          ErrorKind::Shape, "fill_absent", entry.name, " got ", name(filled.dtype()), " ",
          filled.shape(), ", takes ", name(parameter.dtype()), " ", parameter.shape());
    parameter.set_data(filled.to(parameter.device()));
  }
}

}  // namespace plinth::nn
