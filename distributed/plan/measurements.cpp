// Where the rows of validation.h come from. What a table does not tell of a run is taken from the
// authors' scripts, and said here; nothing is chosen by its error.

#include <string_view>

#include "core/error.h"
#include "distributed/plan/validation.h"

namespace plinth::plan {
namespace {

using detail::concat;

const Transformer& preset(std::string_view name) {
  for (const Transformer& model : presets()) {
    if (model.name == name) return model;
  }
  throw Error(ErrorKind::Argument, "preset", concat("there is no ", name));
}

// Megatron of 2022: tensor parallelism overlaps backward's collectives with gradients of weights.
constexpr Software kMegatron2022 = {.attention = Attention::Unfused,
                                    .overlap_tensor = true,
                                    .overlap_data = false,
                                    .overlap_pipeline = false,
                                    .gradient_bytes = 4};
// Of 2021: nothing but torch's DDP, which there is without a pipeline, overlaps; float16.
constexpr Software kMegatron2021 = {.attention = Attention::Unfused,
                                    .overlap_tensor = false,
                                    .overlap_data = false,
                                    .overlap_pipeline = false,
                                    .gradient_bytes = 2};
// Megatron-DeepSpeed sums in float32.
constexpr Software kMegatronDeepSpeed = {.attention = Attention::Unfused,
                                         .overlap_tensor = false,
                                         .overlap_data = false,
                                         .overlap_pipeline = false,
                                         .gradient_bytes = 4};
constexpr Software kLlama3 = {};  // section 3.3.2: gradients in float32, everything asynchronous
constexpr Software kTorchtitan = {.overlap_tensor = false};
constexpr Software kAsyncTensor = {.async_tensor = true};

// A pipeline of several chunks is interleaved.
Strategy strategy(int tensor, int pipeline, int chunks, int64_t data, int64_t micro_batch,
                  Recompute recompute) {
  return {.tensor = tensor,
          .data_shard = static_cast<int>(data),
          .pipeline = pipeline,
          .schedule = chunks > 1 ? PipelineKind::Interleaved : PipelineKind::OneForwardOneBackward,
          .chunks = chunks,
          .micro_batch = micro_batch,
          .recompute = recompute};
}

void add_megatron_2021(std::vector<Measurement>& rows) {
  // Micro-batches and layers of a chunk: examples/sc21/run_table_1.sh of Megatron-LM.
  struct Row {
    const char* name;
    int heads, hidden, layers, tensor, pipeline, chunks, gpus, micro_batch, batch;
    double teraflops;
  };
  constexpr Row kTable[] = {
      {"1.7B", 24, 2304, 24, 1, 1, 1, 32, 16, 512, 137},
      {"3.6B", 32, 3072, 30, 2, 1, 1, 64, 16, 512, 138},
      {"7.5B", 32, 4096, 36, 4, 1, 1, 128, 16, 512, 142},
      {"18.4B", 48, 6144, 40, 8, 1, 1, 256, 8, 1024, 135},
      {"39.1B", 64, 8192, 48, 8, 2, 1, 512, 4, 1536, 138},
      {"76.1B", 80, 10240, 60, 8, 4, 3, 1024, 2, 1792, 140},
      {"145.6B", 96, 12288, 80, 8, 8, 2, 1536, 2, 2304, 148},
      {"310.1B", 128, 16384, 96, 8, 16, 2, 1920, 1, 2160, 155},
      {"529.6B", 128, 20480, 105, 8, 35, 3, 2520, 1, 2520, 163},
      {"1008B", 160, 25600, 128, 8, 64, 1, 3072, 1, 3072, 163},
  };
  for (const Row& row : kTable) {
    Transformer model = preset("gpt3-175b");
    model.name = row.name;
    model.layers = row.layers;
    model.hidden = row.hidden;
    model.heads = model.kv_heads = row.heads;
    model.head_dim = row.hidden / row.heads;
    model.ffn = 4 * model.hidden;
    Measurement measured{.table = "Narayanan et al. 2021, table 1",
                         .row = concat(row.name, ", ", row.gpus, " GPUs"),
                         .gpu = &find_gpu("a100-80gb"),
                         .work = {model, 2048, row.batch, Precision::BFloat16, kMegatron2021},
                         .strategy = strategy(row.tensor, row.pipeline, row.chunks,
                                              row.gpus / row.tensor / row.pipeline, row.micro_batch,
                                              Recompute::Full),
                         .metric = Metric::HardwareTeraflops,
                         .measured = row.teraflops};
    measured.work.software.overlap_data = row.pipeline == 1;
    rows.push_back(measured);
  }
}

void add_llama3(std::vector<Measurement>& rows) {
  // Section 3.3.2: interleaved stages, of which a piece is one layer or, at the ends, none; no
  // recomputation at 8k tokens; gradients and optimizer are shared. Micro-batches are taken as one
  // sequence, and operations to skip what the mask does.
  struct Row {
    int gpus, context, data, sequence, batch;
    double teraflops;
  };
  constexpr Row kTable[] = {{8192, 1, 64, 8192, 2048, 430},
                            {16384, 1, 128, 8192, 2048, 400},
                            {16384, 16, 8, 131072, 128, 380}};
  for (const Row& row : kTable) {
    Strategy s = strategy(8, 16, 8, row.data, 1, Recompute::None);
    s.context = row.context;
    s.sequence_parallel = true;
    s.zero_stage = 2;
    rows.push_back({"Llama 3, table 4",
                    concat("405B, ", row.gpus, " GPUs, cp", row.context),
                    &find_gpu("h100"),
                    {preset("llama3-405b"), row.sequence, row.batch, Precision::BFloat16, kLlama3},
                    s,
                    Metric::ModelTeraflops,
                    row.teraflops});
  }
}

void add_torchtitan(std::vector<Measurement>& rows) {
  // benchmarks/llama3_h100_202412_torchtitan.md and asyncTP_llama3_h100_2025-06_torchtitan.md of
  // torchtitan. A pipeline has by default as many micro-batches as stages, and two chunks if
  // interleaved; parameters are not shared in one.
  struct Row {
    const char* name;
    const char* model;
    int data, tensor, pipeline, chunks, local_batch;
    Precision precision;
    bool async;
    double tokens;
  };
  constexpr Precision kB = Precision::BFloat16, kF = Precision::Float8;
  constexpr Row kTable[] = {
      {"8B, 8 GPUs", "llama3-8b", 8, 1, 1, 1, 2, kB, false, 6667},
      {"8B, 8 GPUs, float8", "llama3-8b", 8, 1, 1, 1, 2, kF, false, 8532},
      {"8B, 128 GPUs", "llama3-8b", 128, 1, 1, 1, 2, kB, false, 6514},
      {"8B, 128 GPUs, float8", "llama3-8b", 128, 1, 1, 1, 2, kF, false, 8380},
      {"8B, 64 GPUs, tp8", "llama3-8b", 8, 8, 1, 1, 12, kB, false, 4378},
      {"8B, 64 GPUs, tp8, AsyncTP", "llama3-8b", 8, 8, 1, 1, 12, kB, true, 4809.4},
      {"70B, 256 GPUs", "llama3-70b", 32, 8, 1, 1, 16, kB, false, 597.3},
      {"70B, 256 GPUs, AsyncTP", "llama3-70b", 32, 8, 1, 1, 16, kB, true, 652.4},
      {"70B, 256 GPUs, float8", "llama3-70b", 32, 8, 1, 1, 16, kF, false, 829},
      {"70B, 256 GPUs, float8, AsyncTP", "llama3-70b", 32, 8, 1, 1, 16, kF, true, 876},
      {"405B, 512 GPUs, 1F1B", "llama3-405b", 8, 8, 8, 1, 32, kF, true, 100},
      {"405B, 512 GPUs, interleaved", "llama3-405b", 8, 8, 8, 2, 32, kF, true, 128},
  };
  for (const Row& row : kTable) {
    const Transformer& model = preset(row.model);
    Strategy s =
        strategy(row.tensor, row.pipeline, row.chunks, row.data, row.local_batch / row.pipeline,
                 model.layers == 32 ? Recompute::Alternate : Recompute::Full);
    s.sequence_parallel = row.tensor > 1;
    s.zero_stage = row.pipeline > 1 ? 2 : 3;
    rows.push_back({"torchtitan",
                    row.name,
                    &find_gpu("h100-500w"),
                    {model, 8192, int64_t{row.local_batch} * row.data, row.precision,
                     row.async ? kAsyncTensor : kTorchtitan},
                    s,
                    Metric::TokensPerSecond,
                    row.tokens});
  }
}

void add_megascale(std::vector<Measurement>& rows) {
  // Megatron-LM's columns of table 2, six chunks (section 6.1), the optimizer shared.
  struct Row {
    int gpus, batch;
    double seconds;
  };
  constexpr Row kTable[] = {{256, 768, 40.0},    {512, 768, 21.2},    {768, 768, 15.2},
                            {1024, 768, 11.9},   {3072, 6144, 29.02}, {6144, 6144, 14.78},
                            {8192, 6144, 12.24}, {12288, 6144, 8.57}};
  for (const Row& row : kTable) {
    Transformer model = preset("gpt3-175b");
    model.heads = model.kv_heads = 128;
    model.head_dim = 96;
    model.vocab = 64000;
    Strategy s = strategy(8, 8, 6, row.gpus / 64, 1, Recompute::Selective);
    s.sequence_parallel = true;
    s.zero_stage = 1;
    rows.push_back({"MegaScale, table 2, Megatron-LM",
                    concat("175B, ", row.gpus, " GPUs"),
                    &find_gpu("a100-80gb"),
                    {model, 2048, row.batch, Precision::BFloat16, kMegatron2022},
                    s,
                    Metric::Seconds,
                    row.seconds});
  }
}

void add_bloom(std::vector<Measurement>& rows) {
  // train/tr11-176B-ml/chronicles-prequel.md of bigscience; the embedding and the head take a
  // layer's place in the pipeline each.
  for (const auto& [heads, seconds] : {std::pair{112, 104.50}, std::pair{64, 102.03}}) {
    Transformer model = preset("bloom-176b");
    model.heads = model.kv_heads = heads;
    model.head_dim = model.hidden / heads;
    Strategy s = strategy(4, 12, 1, 8, 2, Recompute::Full);
    s.zero_stage = 1;
    rows.push_back({"BLOOM",
                    concat("176B, 384 GPUs, ", heads, " heads"),
                    &find_gpu("a100-jean-zay"),
                    {model, 2048, 2048, Precision::BFloat16, kMegatronDeepSpeed},
                    s,
                    Metric::Seconds,
                    seconds});
  }
}

}  // namespace

std::vector<Measurement> calibration_rows() {
  struct Row {
    const char* model;
    int pipeline, chunks, batch, micro_batch;
    double full, selective;
  };
  constexpr Row kTable[] = {{"megatron-22b", 1, 1, 4, 4, 1.42, 1.10},
                            {"gpt3-175b", 8, 3, 64, 1, 18.13, 13.75},
                            {"megatron-530b", 35, 3, 280, 1, 49.05, 37.83},
                            {"megatron-1t", 64, 1, 512, 1, 94.42, 71.49}};
  std::vector<Measurement> rows;
  for (const Row& row : kTable) {
    for (const bool full : {true, false}) {
      Strategy s = strategy(8, row.pipeline, row.chunks, 1, row.micro_batch,
                            full ? Recompute::Full : Recompute::Selective);
      s.sequence_parallel = !full;
      rows.push_back({"Korthikanti et al. 2022, table 5",
                      concat(row.model, full ? ", full" : ", selective, sequence parallel"),
                      &find_gpu("a100-80gb"),
                      {preset(row.model), 2048, row.batch, Precision::BFloat16, kMegatron2022},
                      s,
                      Metric::Seconds,
                      full ? row.full : row.selective});
    }
  }
  return rows;
}

std::vector<Measurement> prediction_rows() {
  std::vector<Measurement> rows;
  add_megatron_2021(rows);
  add_llama3(rows);
  add_torchtitan(rows);
  add_megascale(rows);
  add_bloom(rows);
  return rows;
}

}  // namespace plinth::plan
