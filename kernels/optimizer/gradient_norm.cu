#include "kernels/device/exact.h"
#include "kernels/instantiate.h"
#include "kernels/optimizer/optimizer_cuda.h"
#include "kernels/optimizer/tensor_table.cuh"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr int64_t kChunk = kNormChunk;
constexpr int kInFlight = 4;

template <class G>
struct Gradient {
  int64_t n;
  const G* data;
  bool aligned;
};

// What is added up: squares, or v - v, which is 0, or NaN where v is infinite or NaN.
enum class Added { Squares, Differences };

template <Added added, class G>
PLINTH_DEVICE double term(const G& element) {
  const auto v = static_cast<double>(static_cast<compute_t<G>>(element));
  return added == Added::Squares ? v * v : v - v;
}

// Block b adds up a chunk into partial[b]. Which thread adds which element does not depend on
// alignment.
template <Added added, class G>
PLINTH_KERNEL void chunk_kernel(TensorTable<Gradient<G>> table, Global<double> partial) {
  constexpr int W = kVectorWidth<G>;
  constexpr int64_t kStep = int64_t{kThreads} * W;
  const Shared<double> scratch = shared_array<double>(0, 32);
  const int t = table.tensor_of(block_index().x);
  const Gradient<G>& gradient = table.entries[t];
  const Global<const G> data = gradient.data;
  const int64_t begin = static_cast<int64_t>(block_index().x - table.first[t]) * kChunk;
  const int64_t end = begin + kChunk < gradient.n ? begin + kChunk : gradient.n;
  double sums[kInFlight] = {};
  for (int64_t i = begin + static_cast<int64_t>(thread_index()) * W; i < end;
       i += kInFlight * kStep) {
    Vector<G, W> v[kInFlight];
    PLINTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      if (gradient.aligned && i + k * kStep + W <= end)
        v[k] = load_vector<Vector<G, W>>(data + (i + k * kStep));
    }
    PLINTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      const int64_t here = i + k * kStep, stop = here + W < end ? here + W : end;
      if (gradient.aligned && here + W <= end) {
        PLINTH_UNROLL
        for (int e = 0; e < W; ++e) sums[k] += term<added>(v[k][e]);
      } else {
        for (int64_t e = here; e < stop; ++e) {
          const G element = data[e];
          sums[k] += term<added>(element);
        }
      }
    }
  }
  const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const double total = block_reduce<Sum>(sum, 0.0, scratch);
  if (thread_index() == 0) partial[block_index().x] = total;
}

// One block adds the chunks: each thread every 256th, then a tree.
template <class Out, class F>
PLINTH_KERNEL void total_kernel(int64_t count, Global<const double> partial, F finish,
                                Global<Out> out) {
  const Shared<double> scratch = shared_array<double>(0, 32);
  double sums[kInFlight] = {};
  for (int64_t i = thread_index(); i < count; i += kInFlight * kThreads) {
    PLINTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      if (i + k * kThreads < count) sums[k] += partial[i + k * kThreads];
    }
  }
  const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  const double total = block_reduce<Sum>(sum, 0.0, scratch);
  if (thread_index() == 0) out[0] = finish(total);
}

struct Itself {
  PLINTH_DEVICE double operator()(double total) const { return total; }
};
struct Root {
  PLINTH_DEVICE double operator()(double total) const { return std::sqrt(total); }
};
struct IsZero {
  PLINTH_DEVICE bool operator()(double total) const { return total == 0; }
};

PLINTH_DEVICE Exact<double> added(Global<const double> terms, int64_t count) {
  Exact<double> total = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double term = terms[i];
    total = total + term;
  }
  return total;
}

PLINTH_DEVICE bool is_finite(double v) {
  return v - v == 0;
}

// Written field by field: the struct is no single access.
PLINTH_KERNEL void verdict_kernel(StepMeasures m, Global<double> loss_out, Global<double> norm_out,
                                  Global<double> factor, Global<uint32_t> accepted) {
  const double loss = (added(m.losses, m.micro_batches) * m.share).value;
  const double norm = (square_root(added(m.sums, m.sum_count)) * m.share).value;
  const double wanted = (Exact<double>(m.max_norm) / (Exact<double>(norm) + 1e-6)).value;
  bool good = is_finite(loss) && is_finite(norm);
  if (m.max_loss) {
    const Global<const double> limit = m.max_loss;
    const double most = limit[0];
    good = good && !(loss > most);
  }
  loss_out[0] = loss;
  norm_out[0] = norm;
  factor[0] = m.max_norm == 0 || !is_finite(norm) || wanted > 1 ? 1.0 : wanted;
  accepted[0] = good ? 1 : 0;
}

template <class G>
int64_t chunks_of(std::span<const std::span<const G>> tensors) {
  int64_t chunks = 0;
  for (const auto& tensor : tensors)
    chunks += (static_cast<int64_t>(tensor.size()) + kChunk - 1) / kChunk;
  return chunks;
}

template <Added added, class G>
void add_chunks(const char* name, Stream stream, std::span<const std::span<const G>> tensors,
                double* partial) {
  for_each_table<Gradient<G>>(
      tensors.size(), kChunk,
      [&](size_t t) {
        return Gradient<G>{static_cast<int64_t>(tensors[t].size()), tensors[t].data(),
                           reinterpret_cast<uintptr_t>(tensors[t].data()) % 16 == 0};
      },
      [&](const TensorTable<Gradient<G>>& table, uint32_t blocks, int64_t before) {
        launch(name, chunk_kernel<added, G>, {{blocks}, {kThreads}, 32 * sizeof(double)}, stream,
               table, partial + before);
      });
}

template <class Out, class F>
void add_totals(const char* name, Stream stream, int64_t count, const double* partial, F finish,
                Out* out) {
  launch(name, total_kernel<Out, F>, {{1}, {kThreads}, 32 * sizeof(double)}, stream, count, partial,
         finish, out);
}

template <Added added, class G, class Out, class F>
void add_up(const char* name, void* stream, std::span<const std::span<const G>> tensors, F finish,
            Out* out, void* workspace) {
  auto* const partial = static_cast<double*>(workspace);
  const auto s = static_cast<Stream>(stream);
  add_chunks<added>(name, s, tensors, partial);
  add_totals(name, s, chunks_of(tensors), static_cast<const double*>(partial), finish, out);
}

}  // namespace

template <class G>
size_t gradient_workspace(std::span<const std::span<const G>> tensors) {
  return static_cast<size_t>(chunks_of(tensors)) * sizeof(double);
}

template <class G>
void sum_of_squares(void* stream, std::span<const std::span<const G>> tensors, double* out,
                    void* workspace) {
  add_up<Added::Squares>("sum_of_squares", stream, tensors, Itself{}, out, workspace);
}

template <class G>
void chunk_sums_of_squares(void* stream, std::span<const G> tensor, double* sums) {
  add_chunks<Added::Squares>("chunk_sums_of_squares", static_cast<Stream>(stream),
                             std::span<const std::span<const G>>(&tensor, 1), sums);
}

void sum_of_chunks(void* stream, const double* sums, int64_t count, double* out) {
  add_totals("sum_of_chunks", static_cast<Stream>(stream), count, sums, Itself{}, out);
}

template <class G>
void global_norm(void* stream, std::span<const std::span<const G>> tensors, double* out,
                 void* workspace) {
  add_up<Added::Squares>("global_norm", stream, tensors, Root{}, out, workspace);
}

template <class G>
void all_finite(void* stream, std::span<const std::span<const G>> tensors, bool* out,
                void* workspace) {
  add_up<Added::Differences>("all_finite", stream, tensors, IsZero{}, out, workspace);
}

void judge_step(void* stream, const StepMeasures& measures, StepVerdict* out) {
  launch("judge_step", verdict_kernel, {{1}, {1}, 0}, static_cast<Stream>(stream), measures,
         &out->loss, &out->norm, &out->factor, &out->accepted);
}

#define INSTANTIATE(G)                                                                      \
  template size_t gradient_workspace(std::span<const std::span<const G>>);                  \
  template void sum_of_squares(void*, std::span<const std::span<const G>>, double*, void*); \
  template void chunk_sums_of_squares(void*, std::span<const G>, double*);                  \
  template void global_norm(void*, std::span<const std::span<const G>>, double*, void*);    \
  template void all_finite(void*, std::span<const std::span<const G>>, bool*, void*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
