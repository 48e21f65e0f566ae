// Convolutions.

#include "core/ops/conv.h"
#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::Index;

// The element of x [N, C, H, W] at a place that may lie in the padding.
double padded(const Tensor& x, int64_t n, int64_t c, int64_t row, int64_t column) {
  if (row < 0 || row >= x.size(2) || column < 0 || column >= x.size(3)) return 0;
  return naive::at(x, {n, c, row, column});
}

int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation) {
  int64_t count = 0;
  for (int64_t at = -padding; at + dilation * (kernel - 1) < size + padding; at += stride) ++count;
  return count;
}

Tensor conv2d_reference(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const Conv2dOptions& o) {
  const Shape shape{
      x.size(0), w.size(0),
      output_size(x.size(2), w.size(2), o.stride.height, o.padding.height, o.dilation.height),
      output_size(x.size(3), w.size(3), o.stride.width, o.padding.width, o.dilation.width)};
  return naive::build(shape, [&](const Index& i) {
    const int64_t first = i[1] / (w.size(0) / o.groups) * w.size(1);
    double total = bias.defined() ? naive::at(bias, {i[1]}) : 0;
    naive::for_each({w.size(1), w.size(2), w.size(3)}, [&](const Index& k) {
      const int64_t row = i[2] * o.stride.height - o.padding.height + k[1] * o.dilation.height;
      const int64_t column = i[3] * o.stride.width - o.padding.width + k[2] * o.dilation.width;
      total += naive::at(w, {i[1], k[0], k[1], k[2]}) * padded(x, i[0], first + k[0], row, column);
    });
    return total;
  });
}

Case conv2d_case(Sampler& sample, const Shape& x, const Shape& w, bool bias,
                 const Conv2dOptions& options = {}, bool gradcheck = true) {
  const auto pair = [](Size2d size) { return Shape{size.height, size.width}; };
  return {
      detail::concat(x, " x ", w, bias ? " + bias" : "", ", stride ", pair(options.stride),
                     ", padding ", pair(options.padding), ", dilation ", pair(options.dilation),
                     ", groups ", options.groups),
      {sample(x), sample(w), bias ? sample({w[0]}) : Tensor()},
      [=](const Tensors& in) { return Tensors{conv2d(in[0], in[1], in[2], options)}; },
      [=](const Tensors& in) { return Tensors{conv2d_reference(in[0], in[1], in[2], options)}; },
      gradcheck};
}

Tensor conv1d_reference(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const Conv1dOptions& o) {
  const auto tall = [](const Tensor& t) { return t.reshape({t.size(0), t.size(1), 1, t.size(2)}); };
  const Tensor y = conv2d_reference(tall(x), tall(w), bias,
                                    {.stride = {1, o.stride},
                                     .padding = {0, o.padding},
                                     .dilation = {1, o.dilation},
                                     .groups = o.groups});
  return y.reshape({y.size(0), y.size(1), y.size(3)});
}

Case conv1d_case(Sampler& sample, const Shape& x, const Shape& w, bool bias,
                 const Conv1dOptions& o = {}, bool gradcheck = true) {
  return {detail::concat(x, " x ", w, bias ? " + bias" : "", ", stride ", o.stride, ", padding ",
                         o.padding, ", dilation ", o.dilation, ", groups ", o.groups),
          {sample(x), sample(w), bias ? sample({w[0]}) : Tensor()},
          [=](const Tensors& in) { return Tensors{conv1d(in[0], in[1], in[2], o)}; },
          [=](const Tensors& in) { return Tensors{conv1d_reference(in[0], in[1], in[2], o)}; },
          gradcheck};
}

std::vector<ErrorCase> conv2d_errors() {
  const auto call = [](const Shape& x, const Shape& w, const Conv2dOptions& options = {}) {
    return [=] { conv2d(zeros(x), zeros(w), {}, options); };
  };
  const Tensor narrow = zeros({1, 2, 3, 3}, {DType::BFloat16, {}});
  const Tensor integers = zeros({1, 2, 3, 3}, {DType::Int64, {}});
  return {
      {[] {
         conv2d({}, zeros({1, 2, 3, 3}));
       },
       ErrorKind::Argument, "conv2d: x is undefined"},
      {[] {
         conv2d(zeros({1, 2, 3, 3}), {});
       },
       ErrorKind::Argument, "conv2d: weight is undefined"},
      {call({2, 5, 5}, {4, 2, 3, 3}), ErrorKind::Shape,
       "conv2d: x has shape [2, 5, 5], expected [N, C, height, width]"},
      {call({1, 2, 5, 5}, {4, 2, 3}), ErrorKind::Shape,
       "conv2d: weight has shape [4, 2, 3], expected [out, C / groups, a kernel of height, width]"},
      {call({1, 3, 5, 5}, {4, 2, 3, 3}), ErrorKind::Shape,
       "conv2d: x has shape [1, 3, 5, 5], expected 2 channels (weight is [4, 2, 3, 3], groups 1)"},
      {call({1, 4, 5, 5}, {3, 2, 3, 3}, {.groups = 2}), ErrorKind::Shape,
       "conv2d: weight has shape [3, 2, 3, 3], expected a multiple of 2 output channels (groups)"},
      {call({1, 2, 5, 5}, {4, 2, 3, 3}, {.groups = 0}), ErrorKind::Argument,
       "conv2d: groups is 0, expected at least 1"},
      {call({1, 2, 5, 5}, {4, 2, 3, 3}, {.stride = {1, 0}}), ErrorKind::Argument,
       "conv2d: stride is 0, expected at least 1"},
      {call({1, 2, 5, 5}, {4, 2, 3, 3}, {.padding = -1}), ErrorKind::Argument,
       "conv2d: padding is -1, expected at least 0"},
      {call({1, 2, 5, 5}, {4, 2, 3, 3}, {.dilation = 0}), ErrorKind::Argument,
       "conv2d: dilation is 0, expected at least 1"},
      {call({1, 2, 5, 5}, {4, 2, 0, 3}), ErrorKind::Shape,
       "conv2d: weight has shape [4, 2, 0, 3], expected a kernel of at least 1"},
      {call({1, 2, 5, 4}, {4, 2, 3, 4}, {.dilation = {1, 2}}), ErrorKind::Shape,
       "conv2d: x has shape [1, 2, 5, 4] and a padding of 0, expected at least the 7 elements that "
       "the kernel spans (weight is [4, 2, 3, 4], dilation 2)"},
      {[=] {
         conv2d(narrow, zeros({4, 2, 3, 3}));
       },
       ErrorKind::DType, "conv2d: weight has dtype float32, expected bfloat16 (that of x)"},
      {[=] { conv2d(integers, integers); }, ErrorKind::DType,
       "conv2d: x has dtype int64, takes float64"},
      {[] {
         conv2d(zeros({1, 2, 3, 3}), zeros({4, 2, 3, 3}), zeros({3}));
       },
       ErrorKind::Shape, "conv2d: bias has shape [3], expected [4] (weight's first dimension)"},
  };
}

std::vector<ErrorCase> conv1d_errors() {
  return {
      {[] {
         conv1d(zeros({2, 5}), zeros({4, 2, 3}));
       },
       ErrorKind::Shape, "conv1d: x has shape [2, 5], expected [N, C, length]"},
      {[] {
         conv1d(zeros({1, 2, 5}), zeros({4, 2, 3}), {}, {.stride = -1});
       },
       ErrorKind::Argument, "conv1d: stride is -1, expected at least 1"},
      {[] {
         conv1d(zeros({1, 2, 2}), zeros({4, 2, 3}));
       },
       ErrorKind::Shape, "a padding of 0, expected at least the 3 elements that the kernel spans"},
  };
}

}  // namespace

std::vector<Row> conv_rows() {
  return {
      {.name = "conv1d",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {conv1d_case(s, {2, 3, 9}, {4, 3, 3}, true, {.padding = 1}),
                 conv1d_case(s, {1, 2, 8}, {3, 2, 3}, true, {.stride = 2, .padding = 1}),
                 conv1d_case(s, {1, 4, 7}, {4, 2, 2}, false, {.dilation = 3, .groups = 2}),
                 conv1d_case(s, {0, 2, 5}, {3, 2, 3}, true),
                 conv1d_case(s, {2, 5, 70}, {33, 5, 3}, true, {.stride = 2, .padding = 1}, false)};
       },
       .errors = conv1d_errors(),
       .tolerance = {.units = 4, .gradient_units = 8}},
      {.name = "conv2d",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {conv2d_case(s, {2, 2, 4, 5}, {3, 2, 3, 3}, true),
                 conv2d_case(s, {1, 2, 4, 5}, {3, 2, 3, 2}, false,
                             {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}}),
                 conv2d_case(s, {2, 3, 4, 6}, {4, 3, 2, 2}, true, {.stride = 2}),
                 conv2d_case(s, {1, 1, 5, 7}, {2, 1, 2, 3}, true, {.stride = {2, 3}}),
                 conv2d_case(s, {2, 4, 3, 3}, {4, 1, 3, 3}, true, {.padding = 1, .groups = 4}),
                 conv2d_case(s, {1, 4, 3, 2}, {6, 2, 1, 1}, false, {.groups = 2}),
                 conv2d_case(s, {1, 1, 2, 2}, {1, 1, 2, 2}, true, {.stride = 3, .padding = 2}),
                 conv2d_case(s, {0, 2, 4, 5}, {3, 2, 3, 3}, true),
                 conv2d_case(s, {1, 0, 4, 5}, {2, 0, 3, 3}, true),
                 conv2d_case(s, {1, 2, 4, 5}, {0, 2, 3, 3}, true),
                 conv2d_case(s, {1, 2, 16, 24}, {9, 2, 8, 8}, true, {.stride = 8}, false),
                 conv2d_case(s, {2, 5, 9, 11}, {7, 5, 3, 3}, true, {.padding = 1}, false)};
       },
       .errors = conv2d_errors(),
       .tolerance = {.units = 4, .gradient_units = 8}},
  };
}

}  // namespace plinth::op_table
