#include <array>

#include "kernels/device/emulate/library/cublaslt_problem.h"

namespace plinth::emulate {
namespace {

bool has_bias(uint32_t epilogue) {
  return epilogue == lt::kBias || epilogue == lt::kGeluAuxBias;
}
bool has_aux(uint32_t epilogue) {
  return epilogue == lt::kGeluAuxBias || epilogue == lt::kGeluGradientBias;
}
bool has_bias_gradient(uint32_t epilogue) {
  return epilogue == lt::kGeluGradientBias || epilogue == lt::kBiasGradientOfB;
}

std::string why_invalid(const LtLayout& x, const char* name) {
  const std::string matrix = std::string("matrix ") + name;
  if (x.rows < 1 || x.columns < 1) return matrix + " is empty";
  if (x.leading < x.rows) return matrix + " has a leading dimension below its rows";
  if (x.rows > INT32_MAX || x.columns > INT32_MAX) return matrix + " is larger than int32";
  if (x.batches < 1) return matrix + " has no batches";
  return "";
}

std::string why_shapes_differ(const LtProblem& p) {
  const auto rows = [](const LtLayout& x, int32_t t) { return t ? x.columns : x.rows; };
  const auto columns = [](const LtLayout& x, int32_t t) { return t ? x.rows : x.columns; };
  if (rows(p.a, p.desc.transpose_a) != p.d.rows) return "op(A) and D differ in rows";
  if (columns(p.b, p.desc.transpose_b) != p.d.columns) return "op(B) and D differ in columns";
  if (rows(p.b, p.desc.transpose_b) != p.depth()) return "op(A) and op(B) differ in k";
  if (p.c.rows != p.d.rows || p.c.columns != p.d.columns) return "C and D differ in shape";
  for (const LtLayout* x : {&p.a, &p.b, &p.c})
    if (x->batches != p.d.batches) return "the numbers of batches differ";
  const int64_t reach = p.d.leading * (p.d.columns - 1) + p.d.rows;
  if (p.d.batches > 1 && p.d.batch_stride < reach) return "the batches of D overlap";
  return "";
}

std::string why_types_invalid(const LtProblem& p) {
  struct Row {
    int32_t compute, scale, operand, result;
  };
  constexpr std::array<Row, 7> kTable{{
      {lt::kComputeFloat32, lt::kFloat32, lt::kBFloat16, lt::kBFloat16},
      {lt::kComputeFloat32, lt::kFloat32, lt::kFloat16, lt::kFloat16},
      {lt::kComputeFloat32, lt::kFloat32, lt::kBFloat16, lt::kFloat32},
      {lt::kComputeFloat32, lt::kFloat32, lt::kFloat16, lt::kFloat32},
      {lt::kComputeFloat32, lt::kFloat32, lt::kFloat32, lt::kFloat32},
      {lt::kComputeTf32, lt::kFloat32, lt::kFloat32, lt::kFloat32},
      {lt::kComputeFloat64, lt::kFloat64, lt::kFloat64, lt::kFloat64},
  }};
  if (p.desc.scale_a || p.desc.scale_b) return "scales are for float8 operands";
  for (const Row& row : kTable) {
    if (row.compute == p.desc.compute && row.scale == p.desc.scale && row.operand == p.a.type &&
        row.operand == p.b.type && row.result == p.c.type && row.result == p.d.type)
      return "";
  }
  return "no such combination of types";
}

std::string why_float8_invalid(const LtProblem& p) {
  if (p.desc.compute != lt::kComputeFloat32 || p.desc.scale != lt::kFloat32)
    return "float8 computes in float32";
  if (p.a.type == lt::kFloat8E5m2 && p.b.type == lt::kFloat8E5m2) return "both operands are e5m2";
  if (!is_float8_type(p.a.type) || !is_float8_type(p.b.type)) return "one operand is not float8";
  const bool takes_result =
      p.d.type == lt::kBFloat16 || p.d.type == lt::kFloat16 || p.d.type == lt::kFloat32;
  if (!takes_result || p.c.type != p.d.type) return "no such result of float8 operands";
  if (!p.desc.transpose_a || p.desc.transpose_b) return "float8 needs A transposed and B not";
  for (const LtLayout* x : {&p.a, &p.b, &p.c, &p.d}) {
    const auto size = static_cast<int64_t>(size_of_type(x->type));
    if (x->rows * size % 16 != 0 || x->leading * size % 16 != 0)
      return "float8 needs dimensions of multiples of 16 bytes";
  }
  if (p.rows() % 16 != 0 || p.columns() % 16 != 0) return "float8 needs multiples of 16";
  if (p.desc.epilogue == lt::kDefault) return "";
  // Beside a float32 result the bias is bfloat16, which is not emulated.
  const bool bias = p.desc.epilogue == lt::kBias && p.d.type != lt::kFloat32;
  return bias ? "" : "no such epilogue of float8 operands";
}

std::string why_epilogue_invalid(const LtProblem& p) {
  const uint32_t e = p.desc.epilogue;
  if (e != lt::kDefault && e != lt::kBias && !has_aux(e) && !has_bias_gradient(e))
    return "no such epilogue";
  if (e != lt::kDefault && e != lt::kBias && p.d.type == lt::kFloat64)
    return "the epilogue has no form of float64";
  if (has_aux(e) && (p.desc.aux_leading % 8 != 0 || p.desc.aux_leading < p.rows()))
    return "the auxiliary matrix needs a leading dimension of a multiple of 8, and D's rows";
  // BIAS_BATCH_STRIDE and AUX_BATCH_STRIDE are not among the attributes that Plinth sets.
  if ((has_aux(e) || has_bias_gradient(e)) && p.d.batches > 1)
    return "an output of the epilogue is shared by the batch";
  return "";
}

bool aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

}  // namespace

size_t size_of_type(int32_t type) {
  switch (type) {
    case lt::kFloat64: return 8;
    case lt::kFloat32: return 4;
    case lt::kBFloat16:
    case lt::kFloat16: return 2;
    default: return 1;
  }
}

std::string why_invalid(const LtProblem& p) {
  const std::array<std::pair<const LtLayout*, const char*>, 4> layouts{
      {{&p.a, "A"}, {&p.b, "B"}, {&p.c, "C"}, {&p.d, "D"}}};
  for (const auto& [layout, name] : layouts)
    if (std::string why = why_invalid(*layout, name); !why.empty()) return why;
  if (std::string why = why_shapes_differ(p); !why.empty()) return why;
  const bool float8 = is_float8_type(p.a.type) || is_float8_type(p.b.type);
  if (std::string why = float8 ? why_float8_invalid(p) : why_types_invalid(p); !why.empty())
    return why;
  return why_epilogue_invalid(p);
}

std::string why_invalid(const LtProblem& p, const LtOperands& x, uint32_t alignment) {
  const uint32_t e = p.desc.epilogue;
  if (!x.a || !x.b || !x.d || (x.beta != 0 && !x.c)) return "a matrix is null";
  for (const void* matrix : {x.a, x.b, x.c, static_cast<const void*>(x.d)})
    if (!aligned(matrix, alignment)) return "a matrix is not aligned as the algorithm needs it";
  if (is_float8_type(p.a.type))
    for (const void* matrix : {x.a, x.b, x.c, static_cast<const void*>(x.d)})
      if (!aligned(matrix, 16)) return "a matrix beside float8 is not aligned to 16 bytes";
  if ((has_bias(e) || has_bias_gradient(e)) && !p.desc.bias) return "the bias is null";
  if (has_aux(e) && (!p.desc.aux || !aligned(p.desc.aux, 16)))
    return "the auxiliary matrix is null or not aligned to 16 bytes";
  if (x.workspace_bytes > 0 && (!x.workspace || !aligned(x.workspace, 256)))
    return "the workspace is null or not aligned to 256 bytes";
  return "";
}

}  // namespace plinth::emulate
