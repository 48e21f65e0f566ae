#pragma once

// What tests of products have in common: operands of any layout, and a tuner that they steer.

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/emulate/library/cublaslt.h"
#include "kernels/matmul/product_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda::product_testing {

// A clock that says what a test wants, and a memory that it can look into.
class Tuner final : public MatmulTuner {
 public:
  int device() override { return device_number; }
  int capability() override { return capability_number; }
  std::optional<lt::Algorithm> kept(std::string_view problem) override {
    const auto found = memory.find(std::string(problem));
    return found == memory.end() ? std::optional<lt::Algorithm>() : found->second;
  }
  void keep(std::string_view problem, const lt::Algorithm& algorithm) override {
    memory[std::string(problem)] = algorithm;
  }
  bool may_time() override { return times; }
  double milliseconds(const std::function<void()>& give) override {
    const uint64_t before = emulate::cublaslt().products;
    give();
    ++timings;
    const auto runs = static_cast<double>(emulate::cublaslt().products - before);
    return runs * cost.at(emulate::cublaslt().last_algorithm);
  }
  std::shared_ptr<void> scratch(size_t bytes) override {
    const auto buffer = std::make_shared<Buffer<uint8_t>>(static_cast<int64_t>(bytes));
    return {buffer, buffer->data()};
  }

  // A number of its own, so that no test finds another's plans.
  int device_number = next_device++;
  int capability_number = 90;
  bool times = false;
  int timings = 0;
  std::map<uint64_t, double> cost{{0, 1.0}, {1, 1.0}};
  std::map<std::string, lt::Algorithm> memory;

 private:
  static inline int next_device = 0;
};

enum class Layout { Row, Column };

struct Case {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  Layout a = Layout::Row, b = Layout::Row;
  int64_t gap = 0;  // elements after each row (or column)
  bool accumulate = false;
  Epilogue epilogue = Epilogue::None;
};

inline std::array<int64_t, 3> strides_of(Layout layout, int64_t rows, int64_t columns,
                                         int64_t gap) {
  if (layout == Layout::Row) return {rows * (columns + gap), columns + gap, 1};
  return {columns * (rows + gap), 1, rows + gap};
}

// Buffers of a case, and what they should hold afterwards.
template <class A, class B, class C>
struct Operands {
  Operands(const Case& t, int64_t shift = 0)
      : test(t),
        a(t.batch * (t.m + t.gap) * (t.k + t.gap), shift),
        b(t.batch * (t.k + t.gap) * (t.n + t.gap), shift),
        c(t.batch * t.m * (t.n + t.gap), shift),
        bias(t.n),
        aux(t.m * (t.n + t.gap)),
        gradient(t.epilogue == Epilogue::GeluGradient ? t.n : t.m) {
    product.shape = {.batch = t.batch, .m = t.m, .n = t.n, .k = t.k, .accumulate = t.accumulate};
    product.shape.a = strides_of(t.a, t.m, t.k, t.gap);
    product.shape.b = strides_of(t.b, t.k, t.n, t.gap);
    product.shape.c = strides_of(Layout::Row, t.m, t.n, t.gap);
    product.a_dtype = dtype_of<A>;
    product.b_dtype = dtype_of<B>;
    product.c_dtype = dtype_of<C>;
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
    product.epilogue = t.epilogue;
    const bool has_bias = t.epilogue == Epilogue::Bias || t.epilogue == Epilogue::GeluBias;
    if (has_bias) product.bias = bias.data();
    if (t.epilogue == Epilogue::GeluBias || t.epilogue == Epilogue::GeluGradient)
      product.aux = aux.data();
    if (t.epilogue == Epilogue::GeluGradient || t.epilogue == Epilogue::BiasGradient)
      product.bias_gradient = gradient.data();
    a.fill_random(1);
    b.fill_random(2);
    bias.fill_random(3);
    c.fill_random(4);
    aux.fill_random(5);
  }

  // In float64, as [batch, m, n]: a b, with c's values before where it is accumulated.
  std::vector<double> sums() const {
    const auto va = a.values(), vb = b.values(), vc = c.values();
    const cpu::MatmulDesc& s = product.shape;
    std::vector<double> result;
    for (int64_t z = 0; z < s.batch; ++z) {
      for (int64_t i = 0; i < s.m; ++i) {
        for (int64_t j = 0; j < s.n; ++j) {
          double sum = s.accumulate ? vc[z * s.c[0] + i * s.c[1] + j] : 0;
          for (int64_t p = 0; p < s.k; ++p) {
            sum +=
                va[z * s.a[0] + i * s.a[1] + p * s.a[2]] * vb[z * s.b[0] + p * s.b[1] + j * s.b[2]];
          }
          result.push_back(sum);
        }
      }
    }
    return result;
  }
  // The elements of a matrix laid out like c, without the gaps.
  std::vector<double> matrix(const Buffer<C>& from) const {
    const auto values = from.values();
    const cpu::MatmulDesc& s = product.shape;
    std::vector<double> result;
    for (int64_t z = 0; z < s.batch; ++z)
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j) result.push_back(values[z * s.c[0] + i * s.c[1] + j]);
    return result;
  }

  Choice make(Tuner& tuner) {
    const Choice choice = choose(nullptr, tuner, product);
    Buffer<uint8_t> workspace(static_cast<int64_t>(choice.workspace));
    run(nullptr, choice, product, workspace.data());
    return choice;
  }

  Case test;
  Buffer<A> a;
  Buffer<B> b;
  Buffer<C> c;
  Buffer<C> bias, aux, gradient;
  Product product;
};

}  // namespace plinth::kernels::cuda::product_testing
