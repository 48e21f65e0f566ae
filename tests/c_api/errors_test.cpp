// What callers do wrong: a status and a message, never a crash.

#include <string>
#include <thread>

#include "kernels/device/launch_failure.h"
#include "tests/c_api/c_api_testing.h"

namespace plinth {
namespace {

using testing::HasSubstr;

constexpr int64_t kHuge = int64_t{1} << 40;

// Room for what the wrong calls name.
Array<float>& room() {
  static Array<float> floats(64, 1);
  return floats;
}
void* some() {
  return room().data();
}

plinth_status softmax(plinth_dtype dtype, int64_t rows, int64_t cols, const void* x, void* y) {
  return plinth_softmax_forward(kTested, nullptr, dtype, rows, cols, x, y);
}

void expect_refused(plinth_status status, const std::string& message,
                    plinth_status expected = PLINTH_INVALID_ARGUMENT) {
  EXPECT_EQ(status, expected);
  EXPECT_THAT(plinth_last_error(), HasSubstr(message));
}

TEST(CApiErrors, NameTheFunctionAndTheArgument) {
  expect_refused(softmax(PLINTH_FLOAT32, 2, 3, nullptr, some()),
                 "plinth_softmax_forward: x is null");
  expect_refused(softmax(PLINTH_FLOAT32, 2, 3, some(), nullptr), "y is null");
  expect_refused(softmax(PLINTH_FLOAT32, -1, 3, some(), some()), "rows is -1, takes 0 or more");
  expect_refused(softmax(PLINTH_FLOAT32, kHuge, kHuge, some(), some()),
                 "cols makes more elements than there are addresses");
  expect_refused(softmax(PLINTH_INT64, 2, 3, some(), some()),
                 "dtype is int64, takes float64, float32, bfloat16 or float16");
  expect_refused(softmax(77, 2, 3, some(), some()), "dtype is 77");
  expect_refused(softmax(-1, 2, 3, some(), some()), "dtype is -1");
  expect_refused(softmax(PLINTH_FLOAT32, 2, 3, static_cast<char*>(some()) + 1, some()),
                 "x is not aligned to its elements of 4 bytes");
}

TEST(CApiErrors, EmptyArraysNeedNoMemory) {
  EXPECT_OK(softmax(PLINTH_FLOAT32, 0, 3, nullptr, nullptr));
  EXPECT_OK(softmax(PLINTH_FLOAT32, 3, 0, nullptr, nullptr));
  EXPECT_OK(plinth_cast(kTested, nullptr, PLINTH_FLOAT32, PLINTH_INT32, 0, nullptr, nullptr));
}

TEST(CApiErrors, DevicesThatThereAreNot) {
  expect_refused(plinth_softmax_forward(2, nullptr, PLINTH_FLOAT32, 1, 1, some(), some()),
                 "device is 2, takes PLINTH_CPU or PLINTH_CUDA");
  EXPECT_EQ(plinth_has_device(PLINTH_CPU), 1);
  EXPECT_EQ(plinth_has_device(kTested), 1);
  EXPECT_EQ(plinth_has_device(9), 0);
  if (plinth_has_device(PLINTH_CUDA)) return;
  expect_refused(plinth_softmax_forward(PLINTH_CUDA, nullptr, PLINTH_FLOAT32, 1, 1, some(), some()),
                 "this build has no CUDA kernels", PLINTH_UNSUPPORTED);
}

TEST(CApiErrors, EachThreadHasItsOwn) {
  softmax(PLINTH_FLOAT32, -5, 3, nullptr, nullptr);
  std::thread([] { EXPECT_STREQ(plinth_last_error(), ""); }).join();
  EXPECT_THAT(plinth_last_error(), HasSubstr("rows is -5"));
}

#ifdef PLINTH_EMULATE
TEST(CApiErrors, AKernelThatDidNotStartIsToldOnce) {
  device::note_launch_failure("softmax_kernel", "no kernel image is available");
  expect_refused(softmax(PLINTH_FLOAT32, 2, 3, some(), some()),
                 "plinth_softmax_forward: softmax_kernel did not start: no kernel image",
                 PLINTH_DEVICE_FAILED);
  EXPECT_OK(softmax(PLINTH_FLOAT32, 2, 3, some(), some()));
}
#endif

TEST(CApiErrors, VersionsAreTheHeaders) {
  EXPECT_EQ(plinth_kernels_abi_version(), PLINTH_KERNELS_ABI_VERSION);
  EXPECT_THAT(plinth_version(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

// Every function with sizes of 1 and no memory at all.
TEST(CApiErrors, NullPointersAreFoundByEveryFunction) {
  constexpr auto d = kTested;
  constexpr plinth_dtype f = PLINTH_FLOAT32;
  void* const none = nullptr;
  const int64_t* const no_ids = nullptr;
  const plinth_cross_entropy loss = {1, 1, -100, 0};
  const plinth_philox_key key{};
  plinth_attention_desc attention{};
  attention.batch = attention.heads = attention.kv_heads = 1;
  attention.q_len = attention.kv_len = attention.head_dim = 1;
  const plinth_matmul_desc product = {1, 1, 1, 1, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, 0};
  plinth_rope_desc rope{};
  rope.batch = rope.seq = rope.heads = rope.table_rows = 1;
  rope.head_dim = rope.rotary_dim = 2;
  plinth_optimizer_options options{};
  options.step = 1;
  plinth_optimizer_tensor tensor{};
  tensor.n = 1;
  const void* const tensors[] = {nullptr};
  const int64_t sizes[] = {1};
  double norm = 0;
  const plinth_status statuses[] = {
      plinth_layer_norm_forward(d, none, f, 1, 1, none, none, none, none, 0, none, none, none,
                                none),
      plinth_layer_norm_backward_workspace(d, f, 1, 1, nullptr),
      plinth_layer_norm_backward(d, none, f, 1, 1, none, none, none, none, none, none, none, none,
                                 none, none, 0),
      plinth_rms_norm_forward(d, none, f, 1, 1, none, none, none, 0, none, none, none),
      plinth_rms_norm_backward_workspace(d, f, 1, 1, nullptr),
      plinth_rms_norm_backward(d, none, f, 1, 1, none, none, none, none, none, none, none, none, 0),
      plinth_softmax_forward(d, none, f, 1, 1, none, none),
      plinth_softmax_backward(d, none, f, 1, 1, none, none, none),
      plinth_log_softmax_forward(d, none, f, 1, 1, none, none),
      plinth_log_softmax_backward(d, none, f, 1, 1, none, none, none),
      plinth_cross_entropy_forward(d, none, f, nullptr, none, no_ids, none, none),
      plinth_cross_entropy_forward(d, none, f, &loss, none, no_ids, none, none),
      plinth_cross_entropy_backward(d, none, f, &loss, none, none, no_ids, none, none),
      plinth_linear_cross_entropy_whole(d, none, f, nullptr, none, none, no_ids, 1, none, none,
                                        none),
      plinth_linear_cross_entropy_rows(d, none, f, nullptr, 1, none, no_ids, none, none, none),
      plinth_activation_forward(d, none, f, PLINTH_SILU, 1, none, none),
      plinth_activation_backward(d, none, f, PLINTH_SILU, 1, none, none, none),
      plinth_swiglu_forward(d, none, f, 1, 1, 1, none, none, none),
      plinth_swiglu_backward(d, none, f, 1, 1, 1, none, none, none, none, none),
      plinth_bias_gelu_forward(d, none, f, PLINTH_GELU, 1, 1, none, none, none),
      plinth_bias_gelu_backward_workspace(d, f, 1, 1, nullptr),
      plinth_bias_gelu_backward(d, none, f, PLINTH_GELU, 1, 1, none, none, none, none, none, none,
                                0),
      plinth_dropout(d, none, f, 1, 1, 0.5, nullptr, none, none),
      plinth_dropout(d, none, f, 1, 1, 0.5, &key, none, none),
      plinth_rope(d, none, f, nullptr, none, none, none, no_ids, none),
      plinth_rope(d, none, f, &rope, none, none, none, no_ids, none),
      plinth_rope_table(f, 1, 2, 1e4, none, none),
      plinth_attention_forward_workspace(d, f, &attention, nullptr),
      plinth_attention_forward(d, none, f, nullptr, none, none, none, none, none, none, 0),
      plinth_attention_forward(d, none, f, &attention, none, none, none, none, none, none, 0),
      plinth_attention_backward_workspace(d, f, &attention, nullptr),
      plinth_attention_backward(d, none, f, &attention, none, none, none, none, none, none, none,
                                none, none, none, 0),
      plinth_attention_weights(d, none, f, &attention, 1, no_ids, 1, no_ids, none, none, none),
      plinth_embedding_forward(d, none, f, 1, 1, 1, no_ids, none, none),
      plinth_embedding_backward_workspace(d, f, 1, 1, 1, nullptr),
      plinth_embedding_backward(d, none, f, 1, 1, 1, no_ids, none, none, none, 0),
      plinth_matmul(d, none, f, nullptr, none, none, none, none),
      plinth_matmul(d, none, f, &product, none, none, none, none),
      plinth_column_sum_workspace(d, 1, 1, nullptr),
      plinth_column_sum(d, none, f, 1, 1, none, none, none, 0),
      plinth_cast(d, none, f, PLINTH_INT32, 1, none, none),
      plinth_adamw_step(d, none, f, f, 1, nullptr, &options),
      plinth_adamw_step(d, none, f, f, 1, &tensor, nullptr),
      plinth_adamw_step(d, none, f, f, 1, &tensor, &options),
      plinth_lion_step(d, none, f, f, 1, &tensor, &options),
      plinth_sgd_step(d, none, f, f, 1, &tensor, &options),
      plinth_global_norm_workspace(d, f, 1, tensors, sizes, nullptr),
      plinth_global_norm(d, none, f, 1, nullptr, sizes, &norm, none, 0),
      plinth_global_norm(d, none, f, 1, tensors, sizes, &norm, none, 0),
  };
  EXPECT_THAT(statuses, testing::Each(PLINTH_INVALID_ARGUMENT));
}

TEST(CApiErrors, OptionsOutOfRange) {
  plinth_attention_desc d{};
  d.batch = d.heads = d.kv_heads = d.q_len = d.kv_len = d.head_dim = 1;
  const auto attention = [&] {
    return plinth_attention_forward(kTested, nullptr, PLINTH_FLOAT32, &d, some(), some(), some(),
                                    some(), some(), nullptr, 0);
  };
  d.heads = 3, d.kv_heads = 2;
  expect_refused(attention(), "heads is 3, takes a multiple of kv_heads (2)");
  d.kv_heads = 1, d.dropout = 1;
  expect_refused(attention(), "dropout is 1.0");
  d.dropout = 0, d.window = -1;
  expect_refused(attention(), "window is -1");
  d.window = 0, d.q.seq = -4;
  expect_refused(attention(), "q has a negative stride");
  d.q.seq = 0, d.cu_seqlens_q = &d.batch;
  expect_refused(attention(), "only one of cu_seqlens_q and cu_seqlens_k is null");
  d.cu_seqlens_q = nullptr, d.soft_cap = -1;
  expect_refused(attention(), "soft_cap is -1.000000, takes a finite number of 0 or more");
  d.soft_cap = 1e39;
  expect_refused(attention(),
                 "soft_cap is 1e+39, takes 0 or a size within [1.17549e-38, 8.50706e+37], which "
                 "float32 holds");
  d.soft_cap = 0, d.scale = 1e-50;
  expect_refused(attention(), "scale is 1e-50, takes 0 or a size within");
  d.scale = 0, d.dropout = 0.99999999;
  expect_refused(attention(), "takes 0 to below 1 as float32");
  d.dropout = 0, d.dbias = some();
  expect_refused(attention(), "dbias is given without bias");
  d.dbias = nullptr, d.dsinks = some();
  expect_refused(attention(), "dsinks is given without sinks");
  d.dsinks = nullptr, d.bias = some(), d.bias_strides.key = -1;
  expect_refused(attention(), "bias has a negative stride");
  d.bias_strides.key = 0, d.sinks = static_cast<char*>(some()) + 1;
  expect_refused(attention(), "sinks");
  d.sinks = nullptr, d.sequences = 1;
  d.cu_seqlens_q = d.cu_seqlens_k = &d.window;
  expect_refused(attention(), "bias is given with cu_seqlens, takes one of them");

  const plinth_matmul_desc product = {1, 2, 2, 2, {0, 2, 1}, {0, 2, 1}, {0, -2, 1}, 0};
  expect_refused(
      plinth_matmul(kTested, nullptr, PLINTH_FLOAT32, &product, some(), some(), nullptr, some()),
      "c has a negative stride");
  expect_refused(plinth_activation_forward(kTested, nullptr, PLINTH_FLOAT32, 7, 1, some(), some()),
                 "activation is 7, takes 0 to 6");
  expect_refused(
      plinth_swiglu_forward(kTested, nullptr, PLINTH_FLOAT32, 2, 4, 3, some(), some(), some()),
      "stride is 3, takes 4 (cols) or more");
  plinth_optimizer_options options{};
  expect_refused(
      plinth_adamw_step(kTested, nullptr, PLINTH_FLOAT32, PLINTH_FLOAT32, 0, nullptr, &options),
      "step is 0, takes 1 or more");
  options.step = 1;
  expect_refused(
      plinth_adamw_step(kTested, nullptr, PLINTH_FLOAT32, PLINTH_FLOAT64, 0, nullptr, &options),
      "dtype is float64, takes that of the parameters");
}

#ifdef PLINTH_EMULATE
TEST(CApiErrors, WorkspacesThatAreTooSmall) {
  size_t bytes = 0;
  EXPECT_OK(plinth_layer_norm_backward_workspace(kTested, PLINTH_FLOAT32, 4, 8, &bytes));
  ASSERT_GT(bytes, 0);
  const auto backward = [&](void* workspace, size_t given) {
    return plinth_layer_norm_backward(kTested, nullptr, PLINTH_FLOAT32, 4, 8, some(), nullptr,
                                      some(), nullptr, some(), some(), nullptr, some(), nullptr,
                                      workspace, given);
  };
  expect_refused(backward(nullptr, bytes), "workspace is null");
  expect_refused(backward(some(), bytes - 1), "workspace has ");
}
#else
TEST(CApiErrors, IndicesOutOfRange) {
  const int64_t far[] = {0, 3};
  expect_refused(
      plinth_embedding_forward(PLINTH_CPU, nullptr, PLINTH_FLOAT32, 2, 3, 1, far, some(), some()),
      "ids[1] is 3, takes 0 to 2");
  const plinth_cross_entropy loss = {2, 3, -100, 0};
  expect_refused(plinth_cross_entropy_forward(PLINTH_CPU, nullptr, PLINTH_FLOAT32, &loss, some(),
                                              far, some(), some()),
                 "target[1] is 3, takes ignore_index or 0 to 2");
  plinth_rope_desc rope{};
  rope.batch = 1, rope.seq = 2, rope.heads = 1, rope.table_rows = 3;
  rope.head_dim = rope.rotary_dim = 2;
  expect_refused(
      plinth_rope(PLINTH_CPU, nullptr, PLINTH_FLOAT32, &rope, some(), some(), some(), far, some()),
      "positions[1] leaves the table of 3 rows");
  rope.offset = 2;
  expect_refused(plinth_rope(PLINTH_CPU, nullptr, PLINTH_FLOAT32, &rope, some(), some(), some(),
                             nullptr, some()),
                 "offset 2 and seq 2 leave the table of 3 rows");
  plinth_attention_desc d{};
  d.batch = d.heads = d.kv_heads = d.head_dim = d.sequences = 1;
  d.q_len = d.kv_len = 2;
  d.cu_seqlens_q = d.cu_seqlens_k = far;
  const auto attention = [&] {
    return plinth_attention_forward(PLINTH_CPU, nullptr, PLINTH_FLOAT32, &d, some(), some(), some(),
                                    some(), some(), nullptr, 0);
  };
  expect_refused(attention(), "cu_seqlens_q[1] is 3, takes offsets that rise from 0 to 2");
  d.cu_seqlens_q = d.cu_seqlens_k = nullptr;
  d.kv_lengths = far + 1;
  expect_refused(attention(), "kv_lengths[0] is 3, takes 0 to 2");
  d.kv_lengths = nullptr;
  const int64_t first = 0;
  expect_refused(plinth_attention_weights(PLINTH_CPU, nullptr, PLINTH_FLOAT32, &d, 1, &first, 1,
                                          far + 1, some(), some(), some()),
                 "rows[0] is 3, takes 0 to 1");
}
#endif

}  // namespace
}  // namespace plinth
