#include "nn/flat.h"

#include <algorithm>
#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::nn {
namespace {

constexpr int64_t kAlignment = 64;  // bytes

Tensors trainable(const Tensors& parameters) {
  Tensors result;
  for (const Tensor& parameter : parameters) {
    if (parameter.requires_grad()) result.push_back(parameter);
  }
  return result;
}

}  // namespace

FlatLayout::FlatLayout(const Tensors& tensors, std::optional<DType> dtype, int64_t multiple) {
  check(multiple > 0, ErrorKind::Argument, "FlatLayout", "multiple got ", multiple,
        ", takes 1 or more");
  for (const Tensor& tensor : tensors) {
    const DType stored = dtype.value_or(tensor.dtype());
    auto at = std::ranges::find_if(buffers_, [&](const Buffer& buffer) {
      return buffer.dtype == stored && buffer.device == tensor.device();
    });
    if (at == buffers_.end()) at = buffers_.insert(at, {stored, tensor.device(), 0, 0});
    places_.push_back({static_cast<size_t>(at - buffers_.begin()), at->size, tensor.shape()});
    const int64_t unit = kAlignment / static_cast<int64_t>(size_of(stored));
    at->size += (tensor.numel() + unit - 1) / unit * unit;
  }
  for (Buffer& buffer : buffers_)
    buffer.whole_size = (buffer.size + multiple - 1) / multiple * multiple;
}

Tensors FlatLayout::make_buffers(const BufferMaker& make) const {
  Tensors result;
  for (const Buffer& buffer : buffers_) {
    const TensorOptions options{buffer.dtype, buffer.device};
    result.push_back(make ? make(buffer.whole_size, options) : zeros({buffer.whole_size}, options));
  }
  return result;
}

Tensors FlatLayout::views(const Tensors& buffers) const {
  Tensors result;
  for (const Place& place : places_) {
    const Tensor& buffer = buffers[place.buffer];
    result.push_back(Tensor::from_storage(buffer.storage(), place.shape,
                                          place.shape.contiguous_strides(), place.offset,
                                          buffer.dtype()));
  }
  return result;
}

Tensors FlatLayout::contents(const Tensors& buffers) const {
  Tensors result;
  result.reserve(buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i)
    result.push_back(buffers[i].narrow(0, 0, buffers_[i].size));
  return result;
}

Tensors flatten_parameters(const Tensors& parameters) {
  return flatten_parameters(parameters, FlatLayout(parameters));
}

Tensors flatten_parameters(const Tensors& parameters, const FlatLayout& layout) {
  const NoGradGuard no_grad;
  Tensors buffers = layout.make_buffers();
  Tensors views = layout.views(buffers);
  for (size_t i = 0; i < parameters.size(); ++i) {
    views[i].copy_(parameters[i]);
    Tensor(parameters[i]).set_data(views[i]);
  }
  return buffers;
}

FlatGradients::FlatGradients(const Tensors& parameters, std::optional<DType> dtype,
                             int64_t multiple, const BufferMaker& make)
    : parameters_(trainable(parameters)),
      layout_(parameters_, dtype, multiple),
      buffers_(layout_.make_buffers(make)) {
  views_ = layout_.views(buffers_);
  attach();
}

void FlatGradients::attach() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().is(views_[i])) parameters_[i].set_grad(views_[i]);
  }
}

void FlatGradients::zero() {
  const NoGradGuard no_grad;
  for (Tensor& buffer : buffers_) buffer.zero_();
  attach();
  for (const Tensor& parameter : parameters_) mark_grad_cleared(parameter);
}

Tensors FlatGradients::exchange(Tensors buffers) {
  check(buffers.size() == buffers_.size(), ErrorKind::Argument, "FlatGradients", "got ",
        buffers.size(), " buffers, expected ", buffers_.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    check(buffers[i].shape() == buffers_[i].shape() && buffers[i].dtype() == buffers_[i].dtype(),
          ErrorKind::Shape, "FlatGradients", "buffer ", i, " is ", name(buffers[i].dtype()), " ",
          buffers[i].shape(), ", expected ", name(buffers_[i].dtype()), " ", buffers_[i].shape());
  }
  std::swap(buffers, buffers_);
  views_ = layout_.views(buffers_);
  attach();
  return buffers;
}

}  // namespace plinth::nn
