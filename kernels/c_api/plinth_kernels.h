#ifndef PLINTH_KERNELS_H
#define PLINTH_KERNELS_H

/* The kernels of Plinth as a C library, libplinth_kernels.so: raw pointers, sizes and a stream, for
 * any program or framework. Plain C99.
 *
 * Device     Every function takes a device and a stream. On PLINTH_CPU the work is done when the
 *            function returns, by all of OpenMP's threads, and the stream is not used. On
 *            PLINTH_CUDA `stream` is a cudaStream_t (NULL: the default stream) of the calling
 *            thread's current device, pointers are the device's, and the function returns when the
 *            work is in the stream.
 * Memory     Nothing is kept or freed. Arrays are contiguous, row after row, unless strides are
 *            given, in elements. A workspace is device memory aligned to 16 bytes; its size comes
 *            from the function's own _workspace function, and is 0 on the CPU, where the pointer
 *            may be NULL.
 * Dtypes     FLOATING: float64, float32, bfloat16, float16. "wide" arrays have the dtype that
 *            kernels compute in: float64 for float64, float32 for the others.
 * Errors     A status other than PLINTH_OK says that nothing was done; plinth_last_error() then
 *            says why, naming the function and the argument. Null pointers, sizes that are negative
 *            or overflow, unknown dtypes and, on the CPU, indices out of range are found. Indices
 * in a GPU's memory are not looked at: one that is out of range is read as a GPU would. Threads All
 * functions may be called from any thread.
 *
 * The formulas, aliasing rules, bytes and operations of each kernel are in the header that its
 * comment names.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLINTH_KERNELS_ABI_VERSION 2

typedef int32_t plinth_status;
enum {
  PLINTH_OK = 0,
  PLINTH_INVALID_ARGUMENT = 1,
  PLINTH_UNSUPPORTED = 2, /* by this build, or on this device */
  PLINTH_OUT_OF_MEMORY = 3,
  PLINTH_DEVICE_FAILED = 4,
  PLINTH_FAILED = 5
};

typedef int32_t plinth_device;
enum { PLINTH_CPU = 0, PLINTH_CUDA = 1 };

typedef int32_t plinth_dtype;
enum {
  PLINTH_FLOAT64 = 0,
  PLINTH_FLOAT32 = 1,
  PLINTH_BFLOAT16 = 2,
  PLINTH_FLOAT16 = 3,
  PLINTH_FLOAT8_E4M3 = 4,
  PLINTH_FLOAT8_E5M2 = 5,
  PLINTH_INT64 = 6,
  PLINTH_INT32 = 7,
  PLINTH_UINT8 = 8,
  PLINTH_BOOL = 9
};

/* PLINTH_KERNELS_ABI_VERSION of the library: programs built with the same number may use it. */
int32_t plinth_kernels_abi_version(void);
/* "0.1.0". */
const char* plinth_version(void);
/* Why this thread's last call that failed did; "" if none has. Valid until its next call. */
const char* plinth_last_error(void);
/* 1 if this build has kernels for the device, else 0. */
int32_t plinth_has_device(plinth_device device);

/* What random numbers are for (kernels/philox.h): the same key gives the same numbers. */
typedef struct plinth_philox_key {
  uint64_t seed;
  uint64_t step;
  uint32_t op;
  int64_t sample;
} plinth_philox_key;

/* ---- normalisation (kernels/layer_norm/layer_norm.h, kernels/rms_norm/rms_norm.h) ----
 * x, y: [rows, cols] of dtype (FLOATING); weight, bias: [cols]; mean, rstd: [rows], wide.
 * residual may be NULL; if not, sum = x + residual is written, and normalised in x's place.
 * weight, bias, mean and rstd may be NULL. */

plinth_status plinth_layer_norm_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                        int64_t rows, int64_t cols, const void* x,
                                        const void* residual, const void* weight, const void* bias,
                                        double eps, void* sum, void* y, void* mean, void* rstd);

plinth_status plinth_layer_norm_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                   int64_t rows, int64_t cols, size_t* bytes);

/* x is what was normalised: x, or sum. dsum, the gradient that reached sum by other ways, may be
 * NULL; dx then is the gradient of x and of residual. dx, dweight, dbias: NULL if not wanted. */
plinth_status plinth_layer_norm_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                         int64_t rows, int64_t cols, const void* dy,
                                         const void* dsum, const void* x, const void* weight,
                                         const void* mean, const void* rstd, void* dx,
                                         void* dweight, void* dbias, void* workspace,
                                         size_t workspace_bytes);

plinth_status plinth_rms_norm_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                      int64_t rows, int64_t cols, const void* x,
                                      const void* residual, const void* weight, double eps,
                                      void* sum, void* y, void* rstd);

plinth_status plinth_rms_norm_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                 int64_t rows, int64_t cols, size_t* bytes);

plinth_status plinth_rms_norm_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                       int64_t rows, int64_t cols, const void* dy, const void* dsum,
                                       const void* x, const void* weight, const void* rstd,
                                       void* dx, void* dweight, void* workspace,
                                       size_t workspace_bytes);

/* ---- softmax (kernels/softmax/softmax.h) ----
 * All [rows, cols] of dtype (FLOATING). */

plinth_status plinth_softmax_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                     int64_t rows, int64_t cols, const void* x, void* y);
plinth_status plinth_softmax_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                      int64_t rows, int64_t cols, const void* dy, const void* y,
                                      void* dx);
plinth_status plinth_log_softmax_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                         int64_t rows, int64_t cols, const void* x, void* y);
plinth_status plinth_log_softmax_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                          int64_t rows, int64_t cols, const void* dy, const void* y,
                                          void* dx);

/* ---- losses (kernels/cross_entropy/, kernels/linear_cross_entropy/) ---- */

typedef struct plinth_cross_entropy {
  int64_t rows, classes;
  int64_t ignore_index;   /* a row with this target has loss 0 and gives no gradient */
  double label_smoothing; /* within [0, 1] */
} plinth_cross_entropy;

/* logits, dlogits: [rows, classes] of dtype (FLOATING); target: [rows] int64; loss, lse, dloss:
 * [rows], wide. */
plinth_status plinth_cross_entropy_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                           const plinth_cross_entropy* desc, const void* logits,
                                           const int64_t* target, void* loss, void* lse);
plinth_status plinth_cross_entropy_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                            const plinth_cross_entropy* desc, const void* dloss,
                                            const void* logits, const int64_t* target,
                                            const void* lse, void* dlogits);

typedef struct plinth_linear_cross_entropy {
  int64_t rows, dim, vocab;
  int64_t ignore_index;
  double label_smoothing;
  double z_loss;
} plinth_linear_cross_entropy;

/* The loss of a language model's head, whose logits x w^T are never whole in memory. x, dx: [rows,
 * dim] and w: [vocab, dim] of dtype (FLOATING); loss: [rows], dw: [vocab, dim], wide. dx and dw may
 * be NULL; dw is added to. They are the gradients of row_scale times the sum of the losses. CPU
 * only: on a GPU the products are the caller's, and what lies between them is the next function. */
plinth_status plinth_linear_cross_entropy_whole(plinth_device device, void* stream,
                                                plinth_dtype dtype,
                                                const plinth_linear_cross_entropy* desc,
                                                const void* x, const void* w, const int64_t* target,
                                                double row_scale, void* loss, void* dx, void* dw);

/* CUDA only. Of a chunk of logits z [rows, vocab] whose rows are `stride` elements apart: the
 * losses [rows], wide, and dz, laid out as z; dz may be NULL, or z itself. row_scale is one number,
 * wide, in device memory; NULL stands for 1. desc->dim is not used. */
plinth_status plinth_linear_cross_entropy_rows(plinth_device device, void* stream,
                                               plinth_dtype dtype,
                                               const plinth_linear_cross_entropy* desc,
                                               int64_t stride, const void* z, const int64_t* target,
                                               const void* row_scale, void* loss, void* dz);

/* ---- activations (kernels/activation/, kernels/swiglu/, kernels/bias_gelu/) ---- */

typedef int32_t plinth_activation;
enum {
  PLINTH_GELU = 0,      /* by erf */
  PLINTH_GELU_TANH = 1, /* GPT-2's form */
  PLINTH_SILU = 2,
  PLINTH_RELU = 3,
  PLINTH_SIGMOID = 4,
  PLINTH_TANH = 5,
  PLINTH_GELU_QUICK = 6 /* x sigmoid(1.702 x), CLIP's form */
};

/* n elements of dtype (FLOATING). `saved` is the input x; for sigmoid and tanh the output y. */
plinth_status plinth_activation_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                        plinth_activation kind, int64_t n, const void* x, void* y);
plinth_status plinth_activation_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                         plinth_activation kind, int64_t n, const void* dy,
                                         const void* saved, void* dx);

/* y = silu(gate) up: [rows, cols] of dtype (FLOATING), the rows of gate, up and their gradients
 * `stride` elements apart, those of y and dy cols. */
plinth_status plinth_swiglu_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                    int64_t rows, int64_t cols, int64_t stride, const void* gate,
                                    const void* up, void* y);
plinth_status plinth_swiglu_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                     int64_t rows, int64_t cols, int64_t stride, const void* dy,
                                     const void* gate, const void* up, void* dgate, void* dup);

/* y = gelu(x + bias), form PLINTH_GELU, PLINTH_GELU_TANH or PLINTH_GELU_QUICK: [rows, cols] of
 * dtype (FLOATING), bias and dbias [cols]. dbias may be NULL. */
plinth_status plinth_bias_gelu_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       plinth_activation form, int64_t rows, int64_t cols,
                                       const void* x, const void* bias, void* y);
plinth_status plinth_bias_gelu_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  int64_t rows, int64_t cols, size_t* bytes);
plinth_status plinth_bias_gelu_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        plinth_activation form, int64_t rows, int64_t cols,
                                        const void* dy, const void* x, const void* bias, void* dx,
                                        void* dbias, void* workspace, size_t workspace_bytes);

/* ---- dropout (kernels/dropout/dropout.h) ----
 * [samples, elements] of dtype (FLOATING), p within [0, 1]. The gradient is the same function of
 * dy, with the same key. */

plinth_status plinth_dropout(plinth_device device, void* stream, plinth_dtype dtype,
                             int64_t samples, int64_t elements, double p,
                             const plinth_philox_key* key, const void* x, void* y);

/* ---- rotary position embedding (kernels/rope/rope.h) ---- */

typedef struct plinth_rope_strides {
  int64_t batch, seq, head;
} plinth_rope_strides;

typedef struct plinth_rope_desc {
  int64_t batch, seq, heads;
  int64_t head_dim;
  int64_t rotary_dim; /* even, at most head_dim */
  plinth_rope_strides in, out;
  int64_t table_rows; /* positions that the tables hold */
  int64_t offset;     /* position of the first token, where positions is NULL */
  int32_t interleaved;
  int32_t inverse; /* the gradient: applied to dy */
} plinth_rope_desc;

/* cos, sin: [table_rows, rotary_dim / 2], wide; positions: [batch, seq] int64 or NULL. */
plinth_status plinth_rope(plinth_device device, void* stream, plinth_dtype dtype,
                          const plinth_rope_desc* desc, const void* x, const void* cos,
                          const void* sin, const int64_t* positions, void* y);

/* Writes the tables, of float64 or float32, to host memory. */
plinth_status plinth_rope_table(plinth_dtype dtype, int64_t rows, int64_t rotary_dim, double theta,
                                void* cos, void* sin);

/* ---- attention (kernels/attention/attention.h) ---- */

typedef struct plinth_attention_strides {
  int64_t batch, head, seq; /* the elements of a head are adjacent */
} plinth_attention_strides;

typedef struct plinth_attention_bias_strides {
  int64_t batch, head, query, key; /* 0 where one element serves several */
} plinth_attention_bias_strides;

/* Begin with zeros (= {0} in C): what is 0 or NULL is off. */
typedef struct plinth_attention_desc {
  int64_t batch, heads, kv_heads, q_len, kv_len, head_dim;
  plinth_attention_strides q, k, v, out;
  plinth_attention_strides dq, dk, dv, dout; /* for backward */
  double scale;                              /* 0: 1 / sqrt(head_dim) */
  int32_t causal;
  int64_t window;              /* if positive, how many keys a query sees */
  const int64_t* kv_lengths;   /* [batch], or NULL */
  const int64_t* cu_seqlens_q; /* [sequences + 1], or NULL: packed sequences, with batch 1 */
  const int64_t* cu_seqlens_k;
  int64_t sequences;
  double dropout; /* within [0, 1) */
  plinth_philox_key philox;
  double soft_cap;          /* scores x become soft_cap tanh(x / soft_cap) */
  const void* alibi_slopes; /* [heads], wide */
  const void* bias;         /* of dtype, added to the scores; not with cu_seqlens */
  plinth_attention_bias_strides bias_strides;
  const void* sinks; /* [heads], wide: logits that take weight and have no value */
  /* For backward: the gradient of lse, wide, that is given; those of bias and of sinks, in the
   * dtypes of these, that are wanted. Where an element of dbias has stride 0, it is a sum. */
  const void* dlse;
  void* dbias;
  plinth_attention_bias_strides dbias_strides;
  void* dsinks;
} plinth_attention_desc;

/* q, out: [batch, heads, q_len, head_dim], k, v: [batch, kv_heads, kv_len, head_dim] of dtype
 * (FLOATING), with the strides of desc; lse: [batch, heads, q_len], wide. head_dim is at most 256
 * on a GPU. */
plinth_status plinth_attention_forward_workspace(plinth_device device, plinth_dtype dtype,
                                                 const plinth_attention_desc* desc, size_t* bytes);
plinth_status plinth_attention_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       const plinth_attention_desc* desc, const void* q,
                                       const void* k, const void* v, void* out, void* lse,
                                       void* workspace, size_t workspace_bytes);
plinth_status plinth_attention_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  const plinth_attention_desc* desc, size_t* bytes);
plinth_status plinth_attention_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        const plinth_attention_desc* desc, const void* dout,
                                        const void* q, const void* k, const void* v,
                                        const void* out, const void* lse, void* dq, void* dk,
                                        void* dv, void* workspace, size_t workspace_bytes);

/* The softmax weights, before dropout, of chosen heads and rows of q (kernels/attention/weights.h).
 * heads: [head_count], rows: [row_count], int64; weights: [batch, head_count, row_count, kv_len],
 * wide. */
plinth_status plinth_attention_weights(plinth_device device, void* stream, plinth_dtype dtype,
                                       const plinth_attention_desc* desc, int64_t head_count,
                                       const int64_t* heads, int64_t row_count, const int64_t* rows,
                                       const void* q, const void* k, void* weights);

/* ---- embedding (kernels/embedding/embedding.h) ----
 * ids: [n] int64; w: [vocab, dim], y, dy: [n, dim] of dtype (FLOATING); dw: [vocab, dim], wide, is
 * added to. */

plinth_status plinth_embedding_forward(plinth_device device, void* stream, plinth_dtype dtype,
                                       int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                                       const void* w, void* y);
plinth_status plinth_embedding_backward_workspace(plinth_device device, plinth_dtype dtype,
                                                  int64_t n, int64_t vocab, int64_t dim,
                                                  size_t* bytes);
plinth_status plinth_embedding_backward(plinth_device device, void* stream, plinth_dtype dtype,
                                        int64_t n, int64_t vocab, int64_t dim, const int64_t* ids,
                                        const void* dy, void* dw, void* workspace,
                                        size_t workspace_bytes);

/* ---- products (kernels/matmul/matmul.h, kernels/column_sum/column_sum.h) ---- */

typedef struct plinth_matmul_desc {
  int64_t batch, m, n, k;
  int64_t a[3], b[3],
      c[3];           /* strides of (batch, row, column); on the CPU one of row and column 1 */
  int32_t accumulate; /* c += a b */
} plinth_matmul_desc;

/* c [m, n] = a [m, k] b [k, n] (+ bias [n]), batched, of dtype (FLOATING). bias may be NULL. The
 * gradients are products too: da = dc b^T, db = a^T dc, by strides. */
plinth_status plinth_matmul(plinth_device device, void* stream, plinth_dtype dtype,
                            const plinth_matmul_desc* desc, const void* a, const void* b,
                            const void* bias, void* c);

plinth_status plinth_column_sum_workspace(plinth_device device, int64_t rows, int64_t cols,
                                          size_t* bytes);
/* out [cols] = the sum of x [rows, cols] over rows, of dtype (FLOATING): a bias's gradient. */
plinth_status plinth_column_sum(plinth_device device, void* stream, plinth_dtype dtype,
                                int64_t rows, int64_t cols, const void* x, void* out,
                                void* workspace, size_t workspace_bytes);

/* ---- conversion (kernels/elementwise/elementwise.h) ----
 * n elements from any dtype to any other; bool arrays hold 0 and 1. */

plinth_status plinth_cast(plinth_device device, void* stream, plinth_dtype from, plinth_dtype to,
                          int64_t n, const void* x, void* y);

/* ---- optimizers (kernels/optimizer/optimizer.h) ----
 * One step over `count` tensors, whose list is in host memory. Parameters are of `parameter_dtype`
 * (FLOATING), gradients of the same, or of float32 beside bfloat16 and float16; the rest is wide.
 */

typedef struct plinth_optimizer_tensor {
  int64_t n;
  void* parameter;
  const void* gradient;
  void* exp_avg;    /* first moment; SGD without momentum: NULL */
  void* exp_avg_sq; /* second moment: AdamW */
  void* master;     /* the parameter at full precision, or NULL */
} plinth_optimizer_tensor;

typedef struct plinth_optimizer_options {
  double lr;
  double beta1; /* SGD: momentum */
  double beta2;
  double eps;
  double weight_decay;
  double grad_scale;           /* the gradients' factor: 1 for none */
  int64_t step;                /* AdamW: from 1 */
  int32_t nesterov;            /* SGD */
  int32_t stochastic_rounding; /* of bfloat16 without master: by `rounding`, new at every step */
  plinth_philox_key rounding;
} plinth_optimizer_options;

plinth_status plinth_adamw_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                                plinth_dtype gradient_dtype, int64_t count,
                                const plinth_optimizer_tensor* tensors,
                                const plinth_optimizer_options* options);
plinth_status plinth_lion_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                               plinth_dtype gradient_dtype, int64_t count,
                               const plinth_optimizer_tensor* tensors,
                               const plinth_optimizer_options* options);
plinth_status plinth_sgd_step(plinth_device device, void* stream, plinth_dtype parameter_dtype,
                              plinth_dtype gradient_dtype, int64_t count,
                              const plinth_optimizer_tensor* tensors,
                              const plinth_optimizer_options* options);

/* *out (float64, in the device's memory) = the square root of the sum of squares of `count` tensors
 * of dtype (FLOATING). The lists of pointers and of sizes are in host memory. */
plinth_status plinth_global_norm_workspace(plinth_device device, plinth_dtype dtype, int64_t count,
                                           const void* const* tensors, const int64_t* sizes,
                                           size_t* bytes);
plinth_status plinth_global_norm(plinth_device device, void* stream, plinth_dtype dtype,
                                 int64_t count, const void* const* tensors, const int64_t* sizes,
                                 double* out, void* workspace, size_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif
