#include <algorithm>
#include <array>

#include "kernels/c_api/call.h"
#include "kernels/column_sum/column_sum.h"
#include "kernels/column_sum/column_sum_cuda.h"
#include "kernels/embedding/embedding.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/index/index.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_cuda.h"

using namespace plinth::kernels;
using namespace plinth::kernels::c_api;

namespace {

// Of a [rows, cols] operand.
void check_strides(plinth_device device, const char* name, const int64_t (&strides)[3],
                   int64_t rows, int64_t cols) {
  const auto is_negative = [](int64_t stride) { return stride < 0; };
  require(std::none_of(strides, strides + 3, is_negative),
          std::string(name) + " has a negative stride, takes 0 or more");
  const bool has_a_one = rows <= 1 || cols <= 1 || strides[1] == 1 || strides[2] == 1;
  require(device != PLINTH_CPU || has_a_one,
          std::string(name) + " has no row or column stride of 1, takes one on the CPU");
}

cpu::MatmulDesc checked(plinth_device device, const plinth_matmul_desc* pointer) {
  const plinth_matmul_desc& d = given(pointer, "desc");
  product({{"batch", d.batch}, {"m", d.m}, {"n", d.n}});
  product({{"batch", d.batch}, {"m", d.m}, {"k", d.k}});
  product({{"batch", d.batch}, {"k", d.k}, {"n", d.n}});
  check_strides(device, "a", d.a, d.m, d.k);
  check_strides(device, "b", d.b, d.k, d.n);
  check_strides(device, "c", d.c, d.m, d.n);
  return {.batch = d.batch,
          .m = d.m,
          .n = d.n,
          .k = d.k,
          .a = std::to_array(d.a),
          .b = std::to_array(d.b),
          .c = std::to_array(d.c),
          .accumulate = d.accumulate != 0};
}

int64_t check_table(plinth_dtype dtype, int64_t n, int64_t vocab, int64_t dim) {
  check_floating(dtype);
  product({{"vocab", vocab}, {"dim", dim}});
  return product({{"n", n}, {"dim", dim}});
}

// Those of a GPU are not looked at.
void check_ids(plinth_device device, int64_t n, int64_t vocab, const int64_t* ids) {
  check_pointers(n, sizeof(int64_t), {{"ids", ids}});
  if (device != PLINTH_CPU) return;
  const int64_t bad = cpu::first_bad_index(n, vocab, ids);
  if (bad >= 0)
    throw Refused{PLINTH_INVALID_ARGUMENT, "ids[" + std::to_string(bad) + "] is " +
                                               std::to_string(ids[bad]) + ", takes 0 to " +
                                               std::to_string(vocab - 1)};
}

size_t embedding_bytes(plinth_device device, plinth_dtype dtype, int64_t n, int64_t vocab,
                       int64_t dim) {
  require(device == PLINTH_CPU || n <= INT32_MAX, "n is beyond 2^31 - 1, the most on a GPU");
  return with_floating(dtype, [&]<class T>() {
    return PLINTH_BYTES(embedding_backward_workspace<T>, n, vocab, dim);
  });
}

}  // namespace

plinth_status plinth_matmul(plinth_device device, void* stream, plinth_dtype dtype,
                            const plinth_matmul_desc* desc, const void* a, const void* b,
                            const void* bias, void* c) {
  return guarded(__func__, device, [&] {
    const cpu::MatmulDesc d = checked(device, desc);
    with_floating(dtype, [&]<class T>() {
      check_pointers(d.batch * d.m * d.k, sizeof(T), {{"a", a}});
      check_pointers(d.batch * d.k * d.n, sizeof(T), {{"b", b}});
      check_pointers(d.batch * d.m * d.n, sizeof(T), {{"c", c}});
      check_optional(sizeof(T), {{"bias", bias}});
      PLINTH_CALL(matmul, d, in<T>(a), in<T>(b), out<T>(c), in<T>(bias));
    });
  });
}

plinth_status plinth_column_sum_workspace(plinth_device device, int64_t rows, int64_t cols,
                                          size_t* bytes) {
  return guarded(__func__, device, [&] {
    product({{"rows", rows}, {"cols", cols}});
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = PLINTH_BYTES(column_sum_workspace, rows, cols);
  });
}

plinth_status plinth_column_sum(plinth_device device, void* stream, plinth_dtype dtype,
                                int64_t rows, int64_t cols, const void* x, void* out,
                                void* workspace, size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const int64_t n = product({{"rows", rows}, {"cols", cols}});
    check_workspace(workspace, workspace_bytes, PLINTH_BYTES(column_sum_workspace, rows, cols));
    with_floating(dtype, [&]<class T>() {
      check_pointers(n, sizeof(T), {{"x", x}});
      check_pointers(cols, sizeof(T), {{"out", out}});
      PLINTH_CALL_WITH(column_sum, rows, cols, in<T>(x), c_api::out<T>(out));
    });
  });
}

plinth_status plinth_embedding_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                                       const void* w, void* y) {
  return guarded(__func__, device, [&] {
    const int64_t elements = check_table(dtype, n, vocab, dim);
    check_ids(device, n, vocab, ids);
    check_pointers(elements, size_of(dtype), {{"w", w}, {"y", y}});
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL(embedding_forward, n, vocab, dim, ids, in<T>(w), out<T>(y));
    });
  });
}

plinth_status plinth_embedding_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  int64_t n, int64_t vocab, int64_t dim,
                                                  size_t* bytes) {
  return guarded(__func__, device, [&] {
    check_table(dtype, n, vocab, dim);
    check_pointers(1, sizeof *bytes, {{"bytes", bytes}});
    *bytes = embedding_bytes(device, dtype, n, vocab, dim);
  });
}

plinth_status plinth_embedding_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                                        const void* dy, void* dw, void* workspace,
                                        size_t workspace_bytes) {
  return guarded(__func__, device, [&] {
    const int64_t elements = check_table(dtype, n, vocab, dim);
    check_ids(device, n, vocab, ids);
    check_pointers(elements, size_of(dtype), {{"dy", dy}});
    check_pointers(elements, wide_size(dtype), {{"dw", dw}});
    check_workspace(workspace, workspace_bytes, embedding_bytes(device, dtype, n, vocab, dim));
    with_floating(dtype, [&]<class T>() {
      PLINTH_CALL_WITH(embedding_backward, n, vocab, dim, ids, in<T>(dy),
                       out<plinth::compute_t<T>>(dw));
    });
  });
}
