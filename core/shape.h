#pragma once

// Sizes (or strides) of a tensor, held without allocation.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

namespace plinth {

class Shape {
 public:
  static constexpr int64_t kMaxDims = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> values) : Shape(std::span(values.begin(), values.size())) {}
  // Throws Error(Shape) beyond kMaxDims.
  explicit Shape(std::span<const int64_t> values);
  // `dims` values, each equal to `value`.
  static Shape filled(int64_t dims, int64_t value);

  int64_t dim() const { return dim_; }
  bool empty() const { return dim_ == 0; }
  int64_t operator[](int64_t i) const { return values_[i]; }
  int64_t& operator[](int64_t i) { return values_[i]; }
  int64_t back() const { return values_[dim_ - 1]; }
  void push_back(int64_t value);
  void insert(int64_t at, int64_t value);
  void erase(int64_t at);

  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + dim_; }
  int64_t* begin() { return values_.data(); }
  int64_t* end() { return values_.data() + dim_; }

  // Product of the sizes; 1 for a scalar.
  int64_t numel() const;
  // Row-major strides of a contiguous tensor of this shape.
  Shape contiguous_strides() const;

  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, kMaxDims> values_{};
  int64_t dim_ = 0;
};

// Prints "[2, 3, 4]".
std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace plinth
