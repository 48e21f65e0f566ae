#include "nn/layers/norm.h"

#include "core/autocast.h"
#include "core/error.h"

namespace plinth::nn {
namespace {

void check_dim(int64_t dim, std::string_view subject) {
  check(dim > 0, ErrorKind::Argument, subject, "dim is ", dim, ", expected at least 1");
}

// The op checks its weight; without one only this notices a wrong width.
void check_width(const Tensor& x, int64_t dim, std::string_view subject) {
  check(x.dim() > 0 && x.size(-1) == dim, ErrorKind::Shape, subject, "x has shape ", x.shape(),
        ", expected [..., ", dim, "]");
}

}  // namespace

AddNorm Norm::add(const Residual& x) {
  const bool is_one_dtype = x.branch.defined() && x.branch.dtype() == x.stream.dtype();
  const bool in_one_pass =
      x.branch.defined() && (is_one_dtype || x.branch.dtype() == normed_dtype(x.stream));
  if (!in_one_pass) {
    const Tensor sum = x.sum();
    return {sum, (*this)(sum)};
  }
  AddNorm result;
  trace([&] {
    result = add_norm(x.branch, x.stream);
    return result.normed;
  });
  return result;
}

std::optional<DType> Norm::normed_dtype(const Tensor& x) const {
  return feeds_products_ ? autocast_dtype_of(x) : std::nullopt;
}

LayerNorm::LayerNorm(int64_t dim, const LayerNormOptions& options)
    : Norm(options.feeds_products), dim_(dim), eps_(options.eps) {
  check_dim(dim, "LayerNorm");
  if (options.weight) {
    weight_ = register_parameter("weight", {dim}, init::ones(), options.options);
  }
  if (options.bias) bias_ = register_parameter("bias", {dim}, init::zeros(), options.options);
}

Tensor LayerNorm::forward(const Tensor& x) {
  check_width(x, dim_, "LayerNorm");
  return layer_norm(x, shared(weight_), shared(bias_), eps_, normed_dtype(x));
}

AddNorm LayerNorm::add_norm(const Tensor& x, const Tensor& residual) const {
  check_width(x, dim_, "LayerNorm");
  return add_layer_norm(x, residual, shared(weight_), shared(bias_), eps_, normed_dtype(residual));
}

RMSNorm::RMSNorm(int64_t dim, const RMSNormOptions& options)
    : Norm(options.feeds_products), eps_(options.eps) {
  check_dim(dim, "RMSNorm");
  weight_ = register_parameter("weight", {dim}, init::ones(), options.options);
}

Tensor RMSNorm::forward(const Tensor& x) {
  return rms_norm(x, shared(weight_), eps_, normed_dtype(x));
}

AddNorm RMSNorm::add_norm(const Tensor& x, const Tensor& residual) const {
  return add_rms_norm(x, residual, shared(weight_), eps_, normed_dtype(residual));
}

}  // namespace plinth::nn
