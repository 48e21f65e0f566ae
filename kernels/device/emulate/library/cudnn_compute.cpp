// The convolutions of the emulator's cuDNN: plain loops over the terms of each element.

#include <array>
#include <bit>

#include "kernels/device/emulate/library/cudnn.h"
#include "kernels/device/emulate/library/cudnn_descriptor.h"
#include "kernels/device/emulate/library/memory.h"
#include "kernels/types.h"

namespace plinth::emulate {
namespace {

using Index = std::array<int64_t, 4>;

// A tensor of the descriptor's sizes and strides, read and written as float.
class Tensor4 {
 public:
  Tensor4(const DnnDescriptor& descriptor, const void* data, bool written, const char* name)
      : type_(descriptor.one<int>(dnn::kTensorDataType)), data_(data) {
    const auto sizes = descriptor.all<int64_t>(dnn::kTensorDimensions);
    const auto strides = descriptor.all<int64_t>(dnn::kTensorStrides);
    int64_t reach = 1;
    for (size_t i = 0; i < 4; ++i) {
      size_[i] = sizes[i];
      stride_[i] = strides[i];
      reach += (sizes[i] - 1) * strides[i];
    }
    check_library_access(data, static_cast<size_t>(reach) * element_bytes(), written, name);
  }

  const Index& size() const { return size_; }

  float at(const Index& i) const {
    switch (type_) {
      case dnn::kFloat16: return static_cast<const Float16*>(data_)[offset(i)];
      case dnn::kBFloat16: return static_cast<const BFloat16*>(data_)[offset(i)];
      default: return static_cast<const float*>(data_)[offset(i)];
    }
  }
  void set(const Index& i, float value) {
    void* data = const_cast<void*>(data_);
    switch (type_) {
      case dnn::kFloat16: static_cast<Float16*>(data)[offset(i)] = value; break;
      case dnn::kBFloat16: static_cast<BFloat16*>(data)[offset(i)] = value; break;
      default: static_cast<float*>(data)[offset(i)] = value;
    }
  }

 private:
  size_t element_bytes() const { return type_ == dnn::kFloat32 ? 4 : 2; }
  int64_t offset(const Index& i) const {
    return i[0] * stride_[0] + i[1] * stride_[1] + i[2] * stride_[2] + i[3] * stride_[3];
  }

  int type_;
  const void* data_;
  Index size_{}, stride_{};
};

template <class F>
void for_each(const Index& size, F f) {
  for (int64_t n = 0; n < size[0]; ++n)
    for (int64_t c = 0; c < size[1]; ++c)
      for (int64_t h = 0; h < size[2]; ++h)
        for (int64_t w = 0; w < size[3]; ++w) f(Index{n, c, h, w});
}

// float32 with the 10 bits of mantissa that TF32 has, rounded to nearest, ties away from zero.
float to_tf32_ties_away(float value) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000u) & 0xffffe000u);
}

// Which element of x each element of y reads with each of weight.
class Terms {
 public:
  Terms(const DnnConvolution& c, const Index& x, const Index& weight)
      : x_(x),
        weight_(weight),
        stride_(c.how->all<int64_t>(dnn::kConvolutionStrides)),
        padding_(c.how->all<int64_t>(dnn::kConvolutionPrePaddings)),
        dilation_(c.how->all<int64_t>(dnn::kConvolutionDilations)) {}

  // False in the padding.
  bool find(const Index& y, const Index& w, Index& x) const {
    const int64_t groups = x_[1] / weight_[1];
    x[0] = y[0];
    x[1] = y[1] / (weight_[0] / groups) * weight_[1] + w[1];
    for (size_t i = 0; i < 2; ++i) {
      x[i + 2] = y[i + 2] * stride_[i] - padding_[i] + w[i + 2] * dilation_[i];
      if (x[i + 2] < 0 || x[i + 2] >= x_[i + 2]) return false;
    }
    return true;
  }

 private:
  Index x_, weight_;
  std::vector<int64_t> stride_, padding_, dilation_;
};

}  // namespace

void compute(const DnnConvolution& c, const DnnOperands& operands, int engine) {
  const bool forward = c.type == dnn::kConvolutionForward;
  const bool backward_data = c.type == dnn::kConvolutionBackwardData;
  Tensor4 x(*c.x, operands.x, backward_data, "x");
  Tensor4 weight(*c.weight, operands.weight, !forward && !backward_data, "weight");
  Tensor4 y(*c.y, operands.y, forward, "y");
  Tensor4& result = forward ? y : (backward_data ? x : weight);
  const Tensor4 &first = forward ? x : y, &second = backward_data || forward ? weight : x;

  const auto rounded = [&](float v) {
    return engine == kEngineTensorCore ? to_tf32_ties_away(v) : v;
  };
  const Index size = result.size();
  const auto place = [&](const Index& i) {
    return static_cast<size_t>(((i[0] * size[1] + i[1]) * size[2] + i[2]) * size[3] + i[3]);
  };
  std::vector<float> sums(place(size) + 1);
  const Terms terms(c, x.size(), weight.size());
  for_each(y.size(), [&](const Index& at_y) {
    for_each({1, weight.size()[1], weight.size()[2], weight.size()[3]}, [&](Index at_weight) {
      at_weight[0] = at_y[1];
      Index at_x;
      if (!terms.find(at_y, at_weight, at_x)) return;
      const Index& to = forward ? at_y : (backward_data ? at_x : at_weight);
      const float a = first.at(forward ? at_x : at_y);
      const float b = second.at(forward || backward_data ? at_weight : at_x);
      sums[place(to)] += rounded(a) * rounded(b);
    });
  });
  for_each(size, [&](const Index& i) { result.set(i, sums[place(i)]); });
}

}  // namespace plinth::emulate
