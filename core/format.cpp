// Printing of tensors.

#include <iomanip>
#include <sstream>

#include "core/ops/factories.h"
#include "core/tensor.h"

namespace plinth {
namespace {

constexpr int64_t kEdgeItems = 3;  // shown at each end of a long dimension

void print(std::ostream& out, const std::vector<double>& values, const Shape& shape, int64_t d,
           int64_t first) {
  if (d == shape.dim()) {
    out << values[first];
    return;
  }
  int64_t step = 1;
  for (int64_t i = d + 1; i < shape.dim(); ++i) step *= shape[i];
  const bool shortened = shape[d] > 4 * kEdgeItems;
  out << '[';
  for (int64_t i = 0; i < shape[d]; ++i) {
    if (i > 0) out << (d + 1 == shape.dim() ? ", " : ",\n" + std::string(d + 1, ' '));
    if (shortened && i == kEdgeItems) {
      out << "...";
      i = shape[d] - kEdgeItems - 1;
      continue;
    }
    print(out, values, shape, d + 1, first + i * step);
  }
  out << ']';
}

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::ostringstream out;
  out << std::setprecision(5);
  print(out, to_vector(tensor), tensor.shape(), 0, 0);
  out << " " << name(tensor.dtype()) << tensor.shape();
  return out.str();
}

}  // namespace plinth
