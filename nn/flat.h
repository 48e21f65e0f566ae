#pragma once

// Parameters and gradients as views of one contiguous buffer a dtype, so that clearing, norms,
// averaging over ranks and merging micro-batches are one operation on a few large tensors.

#include <functional>
#include <optional>
#include <vector>

#include "core/tensor.h"

namespace plinth::nn {

// Makes a buffer's memory, all zeros: `elements` of them. None: zeros().
using BufferMaker = std::function<Tensor(int64_t elements, TensorOptions options)>;

// Where tensors lie in flat buffers: in order, each at a multiple of 64 bytes of the buffer of its
// dtype. What lies between is zero.
class FlatLayout {
 public:
  struct Place {
    size_t buffer;
    int64_t offset;  // in elements
    Shape shape;
  };

  // `dtype` takes the place of the tensors' own, if given. Zeros follow the last tensor of a buffer
  // until its size is a multiple of `multiple` elements.
  explicit FlatLayout(const Tensors& tensors, std::optional<DType> dtype = {},
                      int64_t multiple = 1);

  // New buffers, all zeros.
  Tensors make_buffers(const BufferMaker& make = {}) const;
  // Views of `buffers`, one a tensor, with the tensors' shapes.
  Tensors views(const Tensors& buffers) const;
  // Views of `buffers` without the zeros that `multiple` asked for.
  Tensors contents(const Tensors& buffers) const;
  // One a tensor.
  const std::vector<Place>& places() const { return places_; }
  size_t buffer_count() const { return buffers_.size(); }
  // Of a buffer, without the zeros that `multiple` asked for; in elements.
  int64_t size(size_t buffer) const { return buffers_[buffer].size; }
  TensorOptions options(size_t buffer) const {
    return {buffers_[buffer].dtype, buffers_[buffer].device};
  }

 private:
  struct Buffer {
    DType dtype;
    Device device;
    int64_t size, whole_size;  // without and with those zeros
  };
  std::vector<Place> places_;
  std::vector<Buffer> buffers_;
};

// Moves the parameters into flat buffers, which are returned; every handle of them stays valid.
// `layout` is one of tensors of their shapes and dtypes.
Tensors flatten_parameters(const Tensors& parameters, const FlatLayout& layout);
Tensors flatten_parameters(const Tensors& parameters);

// Keeps the gradients of parameters in flat buffers; backward adds into them. Every parameter has a
// gradient from the start, so optimizers step all of them. Between steps call zero(), not
// zero_grad(), which would let go of the views.
class FlatGradients {
 public:
  // For the parameters that require gradients, at first all zeros. With dtype Float32 the gradients
  // of narrow parameters are added up in float32. `multiple` is FlatLayout's; `make` makes these
  // buffers, but not those of make_buffers(), of which ranks need different numbers.
  explicit FlatGradients(const Tensors& parameters, std::optional<DType> dtype = {},
                         int64_t multiple = 1, const BufferMaker& make = {});

  const Tensors& buffers() const { return buffers_; }
  // The same without zeros at the end: what norms are taken of.
  Tensors contents() const { return layout_.contents(buffers_); }
  const FlatLayout& layout() const { return layout_; }
  // Those that require gradients, in the layout's order.
  const Tensors& parameters() const { return parameters_; }
  // Fills with zeros, after attach(). Until the next backward pass nobody may write to them:
  // mark_grad_cleared().
  void zero();
  // Gives parameters whose gradient was taken away their view again.
  void attach();
  // Makes `buffers`, of this layout, the gradients, and returns the old ones.
  Tensors exchange(Tensors buffers);
  // Further buffers of the same layout, in memory as any.
  Tensors make_buffers() const { return layout_.make_buffers(); }

 private:
  Tensors parameters_;
  FlatLayout layout_;
  Tensors buffers_, views_;
};

}  // namespace plinth::nn
