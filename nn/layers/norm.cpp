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

// The dtype of what is normed of x, where it is not the op's own choice.
std::optional<DType> normed_dtype(const Tensor& x, bool feeds_products) {
  return feeds_products ? autocast_dtype_of(x) : std::nullopt;
}

}  // namespace

LayerNorm::LayerNorm(int64_t dim, const LayerNormOptions& options)
    : dim_(dim), eps_(options.eps), feeds_products_(options.feeds_products) {
  check_dim(dim, "LayerNorm");
  if (options.weight) {
    weight_ = register_parameter("weight", {dim}, init::ones(), options.options);
  }
  if (options.bias) bias_ = register_parameter("bias", {dim}, init::zeros(), options.options);
}

Tensor LayerNorm::forward(const Tensor& x) {
  check_width(x, dim_, "LayerNorm");
  return layer_norm(x, mapped(parameter_, weight_), mapped(parameter_, bias_), eps_,
                    normed_dtype(x, feeds_products_));
}

AddNorm LayerNorm::add(const Tensor& x, const Tensor& residual) const {
  check_width(x, dim_, "LayerNorm");
  AddNorm result;
  trace([&] {
    result = add_layer_norm(x, residual, mapped(parameter_, weight_), mapped(parameter_, bias_),
                            eps_, normed_dtype(residual, feeds_products_));
    return result.normed;
  });
  return result;
}

RMSNorm::RMSNorm(int64_t dim, const RMSNormOptions& options)
    : eps_(options.eps), feeds_products_(options.feeds_products) {
  check_dim(dim, "RMSNorm");
  weight_ = register_parameter("weight", {dim}, init::ones(), options.options);
}

Tensor RMSNorm::forward(const Tensor& x) {
  return rms_norm(x, mapped(parameter_, weight_), eps_, normed_dtype(x, feeds_products_));
}

AddNorm RMSNorm::add(const Tensor& x, const Tensor& residual) const {
  AddNorm result;
  trace([&] {
    result = add_rms_norm(x, residual, mapped(parameter_, weight_), eps_,
                          normed_dtype(residual, feeds_products_));
    return result.normed;
  });
  return result;
}

}  // namespace plinth::nn
