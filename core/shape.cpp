#include "core/shape.h"

#include <algorithm>
#include <ostream>

#include "core/error.h"

namespace plinth {

Shape::Shape(std::span<const int64_t> values) : dim_(static_cast<int64_t>(values.size())) {
  check(dim_ <= kMaxDims, ErrorKind::Shape, "Shape", "got ", dim_, " dimensions, at most ",
        kMaxDims, " are supported");
  std::copy(values.begin(), values.end(), values_.begin());
}

Shape Shape::filled(int64_t dims, int64_t value) {
  Shape shape;
  for (int64_t i = 0; i < dims; ++i) shape.push_back(value);
  return shape;
}

void Shape::push_back(int64_t value) {
  insert(dim_, value);
}

void Shape::insert(int64_t at, int64_t value) {
  check(dim_ < kMaxDims, ErrorKind::Shape, "Shape", "cannot have more than ", kMaxDims,
        " dimensions");
  std::copy_backward(values_.begin() + at, values_.begin() + dim_, values_.begin() + dim_ + 1);
  values_[at] = value;
  ++dim_;
}

void Shape::erase(int64_t at) {
  std::copy(values_.begin() + at + 1, values_.begin() + dim_, values_.begin() + at);
  --dim_;
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int64_t size : *this) product *= size;
  return product;
}

Shape Shape::contiguous_strides() const {
  Shape strides = filled(dim_, 1);
  for (int64_t i = dim_ - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * std::max<int64_t>(values_[i + 1], 1);
  return strides;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(*this, other);
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int64_t i = 0; i < shape.dim(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ']';
}

}  // namespace plinth
