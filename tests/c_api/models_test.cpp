// What is between a model's norms: attention, rotations, products, tables, losses.

#include "kernels/attention/attention.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "tests/c_api/c_api_testing.h"

namespace plinth {
namespace {

namespace cpu = kernels::cpu;

constexpr int64_t kHeads = 2, kTime = 5, kDim = 8, kAttentionSize = kHeads * kTime * kDim;

plinth_attention_desc causal() {
  plinth_attention_desc desc{};
  desc.batch = 1;
  desc.heads = desc.kv_heads = kHeads;
  desc.q_len = desc.kv_len = kTime;
  desc.head_dim = kDim;
  const plinth_attention_strides strides = {kAttentionSize, kTime * kDim, kDim};
  desc.q = desc.k = desc.v = desc.out = strides;
  desc.dq = desc.dk = desc.dv = desc.dout = strides;
  desc.causal = 1;
  return desc;
}

// out[h, i] = sum_j softmax_j(q k^T / sqrt(dim) + bias[j]) v[h, j], with each head's sink in the
// softmax, by loops.
std::vector<double> attended(Array<float>& q, Array<float>& k, Array<float>& v,
                             Array<float>* bias = nullptr, Array<float>* sinks = nullptr) {
  std::vector<double> result(kAttentionSize);
  for (int64_t h = 0; h < kHeads; ++h) {
    for (int64_t i = 0; i < kTime; ++i) {
      std::vector<double> weights;
      double sum = sinks ? std::exp(sinks->data()[h]) : 0;
      for (int64_t j = 0; j <= i; ++j) {
        double score = bias ? std::sqrt(kDim) * bias->data()[j] : 0;
        for (int64_t d = 0; d < kDim; ++d)
          score += q.data()[(h * kTime + i) * kDim + d] * k.data()[(h * kTime + j) * kDim + d];
        weights.push_back(std::exp(score / std::sqrt(kDim)));
        sum += weights.back();
      }
      for (int64_t j = 0; j <= i; ++j) {
        for (int64_t d = 0; d < kDim; ++d)
          result[(h * kTime + i) * kDim + d] +=
              weights[j] / sum * v.data()[(h * kTime + j) * kDim + d];
      }
    }
  }
  return result;
}

// The gradient dx of sum dout . f() by x, against finite differences.
template <class F>
void expect_gradient(Array<float>& x, Array<float>& dx, Array<float>& dout, F&& f) {
  constexpr float kStep = 1e-2F;
  const auto total = [&] {
    double sum = 0;
    const std::vector<double> values = f();
    for (int64_t i = 0; i < kAttentionSize; ++i) sum += values[i] * dout.data()[i];
    return sum;
  };
  for (size_t i = 0; i < dx.values().size(); i += 7) {
    const float before = x.data()[i];
    x.data()[i] = before + kStep;
    const double above = total();
    x.data()[i] = before - kStep;
    const double below = total();
    x.data()[i] = before;
    EXPECT_NEAR(dx.data()[i], (above - below) / (2.0 * kStep), 1e-3);
  }
}

void expect_attention(const plinth_attention_desc& desc, Array<float>* bias, Array<float>* dbias,
                      Array<float>* sinks, Array<float>* dsinks) {
  Array<float> q(kAttentionSize, 1), k(kAttentionSize, 2), v(kAttentionSize, 3),
      dout(kAttentionSize, 4), out(kAttentionSize);
  Array<float> lse(kHeads * kTime), dq(kAttentionSize), dk(kAttentionSize), dv(kAttentionSize);
  const auto expected = [&] { return attended(q, k, v, bias, sinks); };
  Workspace forward([&](size_t* bytes) {
    return plinth_attention_forward_workspace(kTested, PLINTH_FLOAT32, &desc, bytes);
  });
  EXPECT_OK(plinth_attention_forward(kTested, nullptr, PLINTH_FLOAT32, &desc, q.data(), k.data(),
                                     v.data(), out.data(), lse.data(), forward.data(),
                                     forward.bytes()));
  expect_near(out.values(), expected());
  Workspace workspace([&](size_t* bytes) {
    return plinth_attention_backward_workspace(kTested, PLINTH_FLOAT32, &desc, bytes);
  });
  EXPECT_OK(plinth_attention_backward(kTested, nullptr, PLINTH_FLOAT32, &desc, dout.data(),
                                      q.data(), k.data(), v.data(), out.data(), lse.data(),
                                      dq.data(), dk.data(), dv.data(), workspace.data(),
                                      workspace.bytes()));
  expect_gradient(q, dq, dout, expected);
  expect_gradient(k, dk, dout, expected);
  expect_gradient(v, dv, dout, expected);
  if (bias) expect_gradient(*bias, *dbias, dout, expected);
  if (sinks) expect_gradient(*sinks, *dsinks, dout, expected);
}

TEST(CApi, Attention) {
  expect_attention(causal(), nullptr, nullptr, nullptr, nullptr);
}

TEST(CApi, AttentionOfTheLargestWindow) {
  plinth_attention_desc desc = causal();
  desc.window = INT64_MAX;
  expect_attention(desc, nullptr, nullptr, nullptr, nullptr);
}

TEST(CApi, AttentionWithABiasOfKeysAndSinks) {
  Array<float> bias(kTime, 5), dbias(kTime), sinks(kHeads, 6), dsinks(kHeads);
  plinth_attention_desc desc = causal();
  desc.bias = bias.data(), desc.dbias = dbias.data();
  desc.bias_strides.key = desc.dbias_strides.key = 1;
  desc.sinks = sinks.data(), desc.dsinks = dsinks.data();
  expect_attention(desc, &bias, &dbias, &sinks, &dsinks);
}

// With values of 1 in one place each, the output is the weights.
TEST(CApi, AttentionWeightsAreWhatWeighsTheValues) {
  static_assert(kDim >= kTime);
  plinth_attention_desc desc = causal();
  Array<float> q(kAttentionSize, 1), k(kAttentionSize, 2), v(kAttentionSize), out(kAttentionSize),
      lse(kHeads * kTime);
  for (int64_t i = 0; i < kAttentionSize; ++i)
    v.data()[i] = i / kDim % kTime == i % kDim ? 1.0F : 0.0F;
  Workspace workspace([&](size_t* bytes) {
    return plinth_attention_forward_workspace(kTested, PLINTH_FLOAT32, &desc, bytes);
  });
  EXPECT_OK(plinth_attention_forward(kTested, nullptr, PLINTH_FLOAT32, &desc, q.data(), k.data(),
                                     v.data(), out.data(), lse.data(), workspace.data(),
                                     workspace.bytes()));
  Array<int64_t> heads(1), rows(2);
  heads.data()[0] = 1;
  rows.data()[0] = 4, rows.data()[1] = 2;
  Array<float> weights(2 * kTime);
  EXPECT_OK(plinth_attention_weights(kTested, nullptr, PLINTH_FLOAT32, &desc, 1, heads.data(), 2,
                                     rows.data(), q.data(), k.data(), weights.data()));
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t j = 0; j < kTime; ++j)
      EXPECT_NEAR(weights.data()[r * kTime + j], out.data()[(kTime + rows.data()[r]) * kDim + j],
                  1e-6);
}

TEST(CApi, RopeTurnsThereAndBack) {
  plinth_rope_desc desc{};
  desc.batch = 2, desc.seq = 3, desc.heads = 2;
  desc.head_dim = desc.rotary_dim = kDim;
  desc.in = desc.out = {3 * 2 * kDim, 2 * kDim, kDim};
  desc.table_rows = 4, desc.offset = 1;
  Array<float> cos(4 * kDim / 2), sin(4 * kDim / 2), x(96, 1), y(96), back(96);
  EXPECT_OK(plinth_rope_table(PLINTH_FLOAT32, 4, kDim, 1e4, cos.data(), sin.data()));
  EXPECT_NEAR(cos.data()[kDim / 2], std::cos(1), 1e-6);  // position 1, frequency 1
  EXPECT_OK(plinth_rope(kTested, nullptr, PLINTH_FLOAT32, &desc, x.data(), cos.data(), sin.data(),
                        nullptr, y.data()));
  EXPECT_NEAR(y.data()[0], x.data()[0] * std::cos(1) - x.data()[kDim / 2] * std::sin(1), 1e-5);
  desc.inverse = 1;
  EXPECT_OK(plinth_rope(kTested, nullptr, PLINTH_FLOAT32, &desc, y.data(), cos.data(), sin.data(),
                        nullptr, back.data()));
  expect_near(back.values(), x.values());
}

TEST(CApi, MatmulByStrides) {
  constexpr int64_t kM = 3, kN = 4, kK = 5;
  Array<float> a(kM * kK, 1), b(kN * kK, 2), bias(kN, 3), c(kM * kN);
  plinth_matmul_desc desc = {.batch = 1,
                             .m = kM,
                             .n = kN,
                             .k = kK,
                             .a = {0, kK, 1},
                             .b = {0, 1, kK},  // b is [n, k]
                             .c = {0, kN, 1},
                             .accumulate = 0};
  EXPECT_OK(plinth_matmul(kTested, nullptr, PLINTH_FLOAT32, &desc, a.data(), b.data(), bias.data(),
                          c.data()));
  std::vector<double> expected;
  for (int64_t i = 0; i < kM; ++i) {
    for (int64_t j = 0; j < kN; ++j) {
      double sum = bias.data()[j];
      for (int64_t p = 0; p < kK; ++p) sum += a.data()[i * kK + p] * b.data()[j * kK + p];
      expected.push_back(sum);
    }
  }
  expect_near(c.values(), expected);
  desc.accumulate = 1;
  EXPECT_OK(plinth_matmul(kTested, nullptr, PLINTH_FLOAT32, &desc, a.data(), b.data(), bias.data(),
                          c.data()));
  for (double& value : expected) value *= 2;
  expect_near(c.values(), expected);
}

TEST(CApi, ColumnSum) {
  Array<double> x = {1, 2, 3, 4, 5, 6}, out(3);
  Workspace workspace(
      [](size_t* bytes) { return plinth_column_sum_workspace(kTested, 2, 3, bytes); });
  EXPECT_OK(plinth_column_sum(kTested, nullptr, PLINTH_FLOAT64, 2, 3, x.data(), out.data(),
                              workspace.data(), workspace.bytes()));
  EXPECT_THAT(out.values(), testing::ElementsAre(5, 7, 9));
}

TEST(CApi, EmbeddingAndItsGradient) {
  Array<int64_t> ids = {2, 0, 2};
  Array<float> w = {1, 2, 3, 4, 5, 6}, y(6), dy = {1, 10, 2, 20, 4, 40}, dw(6);
  EXPECT_OK(plinth_embedding_forward(kTested, nullptr, PLINTH_FLOAT32, 3, 3, 2, ids.data(),
                                     w.data(), y.data()));
  EXPECT_THAT(y.values(), testing::ElementsAre(5, 6, 1, 2, 5, 6));
  Workspace workspace([](size_t* bytes) {
    return plinth_embedding_backward_workspace(kTested, PLINTH_FLOAT32, 3, 3, 2, bytes);
  });
  EXPECT_OK(plinth_embedding_backward(kTested, nullptr, PLINTH_FLOAT32, 3, 3, 2, ids.data(),
                                      dy.data(), dw.data(), workspace.data(), workspace.bytes()));
  EXPECT_THAT(dw.values(), testing::ElementsAre(2, 20, 0, 0, 5, 50));
}

TEST(CApi, CrossEntropy) {
  constexpr int64_t kRows = 4, kClasses = 9;
  const plinth_cross_entropy desc = {kRows, kClasses, -100, 0.1};
  Array<int64_t> target = {3, -100, 0, 8};
  Array<float> logits(kRows * kClasses, 1), loss(kRows), lse(kRows), dloss(kRows, 2);
  Array<float> dlogits(kRows * kClasses), loss2(kRows), lse2(kRows), dlogits2(kRows * kClasses);
  EXPECT_OK(plinth_cross_entropy_forward(kTested, nullptr, PLINTH_FLOAT32, &desc, logits.data(),
                                         target.data(), loss.data(), lse.data()));
  EXPECT_OK(plinth_cross_entropy_backward(kTested, nullptr, PLINTH_FLOAT32, &desc, dloss.data(),
                                          logits.data(), target.data(), lse.data(),
                                          dlogits.data()));
  const cpu::CrossEntropyDesc same = {kRows, kClasses, -100, 0.1};
  cpu::cross_entropy_forward<float>(same, logits.data(), target.data(), loss2.data(), lse2.data());
  cpu::cross_entropy_backward<float>(same, dloss.data(), logits.data(), target.data(), lse2.data(),
                                     dlogits2.data());
  expect_near(loss.values(), loss2.values());
  EXPECT_EQ(loss.data()[1], 0);
  expect_near(dlogits.values(), dlogits2.values());
}

TEST(CApi, LinearCrossEntropyWholeOrInRows) {
  constexpr int64_t kRows = 3, kVocab = 12;
  const plinth_linear_cross_entropy desc = {kRows, kDim, kVocab, -100, 0, 0};
  Array<int64_t> target = {1, 11, -100};
  Array<float> x(kRows * kDim, 1), w(kVocab * kDim, 2), loss(kRows), dx(kRows * kDim);
  Array<float> dw(kVocab * kDim), z(kRows * kVocab), dz(kRows * kVocab), dlogits(kRows * kVocab);
  Array<float> expected(kRows), lse(kRows), ones(kRows);
  for (int64_t i = 0; i < kRows; ++i) ones.data()[i] = 1;
  for (int64_t i = 0; i < kRows * kVocab; ++i) {
    for (int64_t d = 0; d < kDim; ++d)
      z.data()[i] += x.data()[i / kVocab * kDim + d] * w.data()[i % kVocab * kDim + d];
  }
  const cpu::CrossEntropyDesc rows = {kRows, kVocab, -100, 0};
  cpu::cross_entropy_forward<float>(rows, z.data(), target.data(), expected.data(), lse.data());
  cpu::cross_entropy_backward<float>(rows, ones.data(), z.data(), target.data(), lse.data(),
                                     dlogits.data());
  const auto whole = [&] {
    return plinth_linear_cross_entropy_whole(kTested, nullptr, PLINTH_FLOAT32, &desc, x.data(),
                                             w.data(), target.data(), 1, loss.data(), dx.data(),
                                             dw.data());
  };
  const auto in_rows = [&] {
    return plinth_linear_cross_entropy_rows(kTested, nullptr, PLINTH_FLOAT32, &desc, kVocab,
                                            z.data(), target.data(), nullptr, loss.data(),
                                            dz.data());
  };
  if (kTested == PLINTH_CUDA) {
    EXPECT_EQ(whole(), PLINTH_UNSUPPORTED);
    EXPECT_OK(in_rows());
    expect_near(dz.values(), dlogits.values());
  } else {
    EXPECT_EQ(in_rows(), PLINTH_UNSUPPORTED);
    EXPECT_OK(whole());
    std::vector<double> products(kRows * kDim);
    for (int64_t i = 0; i < kRows * kVocab; ++i) {
      for (int64_t d = 0; d < kDim; ++d)
        products[i / kVocab * kDim + d] += dlogits.data()[i] * w.data()[i % kVocab * kDim + d];
    }
    expect_near(dx.values(), products);
  }
  expect_near(loss.values(), expected.values());
}

}  // namespace
}  // namespace plinth
