#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/device/emulate/library/cublaslt_problem.h"
#include "kernels/device/emulate/library/memory.h"
#include "kernels/types.h"

namespace plinth::emulate {
namespace {

// Calls f.operator()<T>() for the C++ type of `type`.
template <class F>
void with_type(int32_t type, F f) {
  switch (type) {
    case lt::kFloat64: return f.template operator()<double>();
    case lt::kBFloat16: return f.template operator()<BFloat16>();
    case lt::kFloat16: return f.template operator()<Float16>();
    case lt::kFloat8E4m3: return f.template operator()<Float8_e4m3>();
    case lt::kFloat8E5m2: return f.template operator()<Float8_e5m2>();
    default: return f.template operator()<float>();
  }
}

void check_matrix(const void* matrix, const LtLayout& x, bool write, const char* name) {
  const int64_t reach = (x.batches - 1) * x.batch_stride + (x.columns - 1) * x.leading + x.rows;
  check_library_access(matrix, reach * size_of_type(x.type), write, name);
}

float to_tf32_ties_to_even(float value) {  // nearest, of 10 bits of mantissa
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0xfff + ((bits >> 13) & 1)) & ~uint32_t{0x1fff});
}

// op(x) of one batch: [rows, columns] in row-major order.
template <class C>
std::vector<C> read(const void* matrix, const LtLayout& x, bool transposed, int64_t batch) {
  std::vector<C> values(x.rows * x.columns);
  with_type(x.type, [&]<class T>() {
    const T* from = static_cast<const T*>(matrix) + batch * x.batch_stride;
    for (int64_t j = 0; j < x.columns; ++j) {
      for (int64_t i = 0; i < x.rows; ++i) {
        const int64_t to = transposed ? j * x.rows + i : i * x.columns + j;
        values[to] = static_cast<C>(from[j * x.leading + i]);
      }
    }
  });
  return values;
}

// Element (i, j) of a matrix whose type is known when it is accessed.
template <class C>
C get(const void* matrix, int32_t type, int64_t place) {
  C value = 0;
  with_type(type, [&]<class T>() { value = static_cast<C>(static_cast<const T*>(matrix)[place]); });
  return value;
}
template <class C>
void put(void* matrix, int32_t type, int64_t place, C value) {
  with_type(type, [&]<class T>() {
    static_cast<T*>(matrix)[place] = T(static_cast<compute_t<T>>(value));
  });
}

template <class C>
C tanh_of_gelu(C x) {
  return std::tanh(std::sqrt(2 / std::numbers::pi_v<C>) * (x + C(0.044715) * x * x * x));
}
template <class C>
C gelu(C x) {
  return C(0.5) * x * (1 + tanh_of_gelu(x));
}
template <class C>
C gelu_slope(C x) {
  const C t = tanh_of_gelu(x);
  const C slope = std::sqrt(2 / std::numbers::pi_v<C>) * (1 + 3 * C(0.044715) * x * x);
  return C(0.5) * (1 + t) + C(0.5) * x * (1 - t * t) * slope;
}

template <class C>
class Computation {
 public:
  Computation(const LtProblem& problem, const LtOperands& operands, int parts)
      : p_(problem), x_(operands), parts_(parts) {
    if (p_.desc.scale_a) scale_ *= static_cast<C>(*p_.desc.scale_a);
    if (p_.desc.scale_b) scale_ *= static_cast<C>(*p_.desc.scale_b);
  }

  void run() {
    for (int64_t batch = 0; batch < p_.d.batches; ++batch) {
      a_ = read<C>(x_.a, p_.a, p_.desc.transpose_a, batch);
      b_ = read<C>(x_.b, p_.b, p_.desc.transpose_b, batch);
      if (p_.desc.compute == lt::kComputeTf32) {
        for (std::vector<C>* values : {&a_, &b_})
          for (C& value : *values)
            value = static_cast<C>(to_tf32_ties_to_even(static_cast<float>(value)));
      }
      for (int64_t i = 0; i < p_.rows(); ++i) make_row(batch, i);
    }
    if (p_.desc.epilogue == lt::kBiasGradientOfB) sum_b();
  }

 private:
  C product(int64_t i, int64_t j) const {
    C total = 0;
    const int64_t k = p_.depth(), n = p_.columns();
    for (int part = 0; part < parts_; ++part) {
      C sum = 0;
      for (int64_t p = part * k / parts_; p < (part + 1) * k / parts_; ++p)
        sum += a_[i * k + p] * b_[p * n + j];
      total += sum;
    }
    return total;
  }

  // Row i of D and, where it is asked for, the sum of that row.
  void make_row(int64_t batch, int64_t i) {
    C row_sum = 0;
    for (int64_t j = 0; j < p_.columns(); ++j) {
      C value = static_cast<C>(x_.alpha) * scale_ * product(i, j);
      if (x_.beta != 0) {
        const int64_t place = batch * p_.c.batch_stride + j * p_.c.leading + i;
        value += static_cast<C>(x_.beta) * get<C>(x_.c, p_.c.type, place);
      }
      value = epilogue(value, i, j);
      row_sum += value;
      put(x_.d, p_.d.type, batch * p_.d.batch_stride + j * p_.d.leading + i, value);
    }
    if (p_.desc.epilogue == lt::kGeluGradientBias) put(p_.desc.bias, p_.d.type, i, row_sum);
  }

  C epilogue(C value, int64_t i, int64_t j) {
    const int64_t aux = j * p_.desc.aux_leading + i;
    switch (p_.desc.epilogue) {
      case lt::kBias: return value + get<C>(p_.desc.bias, p_.d.type, i);
      case lt::kGeluAuxBias:
        value += get<C>(p_.desc.bias, p_.d.type, i);
        put(p_.desc.aux, p_.d.type, aux, value);
        return gelu(value);
      case lt::kGeluGradientBias: return value * gelu_slope(get<C>(p_.desc.aux, p_.d.type, aux));
      default: return value;
    }
  }

  void sum_b() {
    for (int64_t j = 0; j < p_.columns(); ++j) {
      C sum = 0;
      for (int64_t p = 0; p < p_.depth(); ++p) sum += b_[p * p_.columns() + j];
      put(p_.desc.bias, p_.d.type, j, sum);
    }
  }

  const LtProblem& p_;
  const LtOperands& x_;
  const int parts_;
  C scale_ = 1;
  std::vector<C> a_, b_;  // of the batch: op(A) and op(B), row-major
};

void check_memory(const LtProblem& p, const LtOperands& x) {
  check_matrix(x.a, p.a, false, "cublasLtMatmul: A");
  check_matrix(x.b, p.b, false, "cublasLtMatmul: B");
  if (x.beta != 0) check_matrix(x.c, p.c, false, "cublasLtMatmul: C");
  check_matrix(x.d, p.d, true, "cublasLtMatmul: D");
  const uint32_t e = p.desc.epilogue;
  const bool writes = e == lt::kGeluGradientBias || e == lt::kBiasGradientOfB;
  const int64_t length = e == lt::kBiasGradientOfB ? p.columns() : p.rows();
  if (e != lt::kDefault)
    check_library_access(p.desc.bias, length * size_of_type(p.d.type), writes,
                         "cublasLtMatmul: bias");
  if (e == lt::kGeluAuxBias || e == lt::kGeluGradientBias) {
    const int64_t reach = (p.columns() - 1) * p.desc.aux_leading + p.rows();
    check_library_access(p.desc.aux, reach * size_of_type(p.d.type), e == lt::kGeluAuxBias,
                         "cublasLtMatmul: auxiliary matrix");
  }
  for (const float* scale : {p.desc.scale_a, p.desc.scale_b})
    if (scale) check_library_access(scale, sizeof(float), false, "cublasLtMatmul: scale");
  check_library_access(x.workspace, x.workspace_bytes, true, "cublasLtMatmul: workspace");
}

}  // namespace

void compute(const LtProblem& problem, const LtOperands& operands, int parts) {
  check_memory(problem, operands);
  if (problem.desc.compute == lt::kComputeFloat64) {
    Computation<double>(problem, operands, parts).run();
  } else {
    Computation<float>(problem, operands, parts).run();
  }
  // Whoever needs what it holds afterwards gets NaN.
  std::fill_n(static_cast<unsigned char*>(operands.workspace), operands.workspace_bytes, 0xff);
}

}  // namespace plinth::emulate
