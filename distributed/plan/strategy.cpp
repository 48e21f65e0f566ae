#include "distributed/plan/strategy.h"

#include <algorithm>

#include "core/error.h"

namespace plinth::plan {

using detail::concat;

std::string Strategy::mesh_text() const {
  return concat("tp", tensor, " cp", context, " dp", data_shard,
                data_replicate > 1 ? concat("x", data_replicate) : "",
                expert > 1 ? concat(" ep", expert) : "", " pp", pipeline,
                chunks > 1 ? concat("x", chunks) : "");
}

int64_t layers_of(const Transformer& model, const Strategy& strategy, int piece) {
  const int64_t pieces = strategy.pieces();
  if (model.layers % pieces == 0) return model.layers / pieces;
  const bool is_end = piece == 0 || piece == pieces - 1;
  return (model.layers + 2) / pieces - (is_end ? 1 : 0);
}

std::string problem(const Workload& work, const Strategy& s) {
  const Transformer& model = work.model;
  if (std::min({s.tensor, s.context, s.data_shard, s.data_replicate, s.expert, s.pipeline,
                s.chunks}) < 1 ||
      s.micro_batch < 1)
    return "every size of the mesh, chunks and micro_batch take at least 1";
  if (s.zero_stage < 0 || s.zero_stage > 3)
    return concat("zero_stage is ", s.zero_stage, ", takes 0 to 3");
  if (model.heads % s.tensor != 0 || model.ffn % s.tensor != 0)
    return concat("tensor is ", s.tensor, ", takes a divisor of the heads (", model.heads,
                  ") and of the MLP (", model.ffn, ")");
  if (model.kv_heads % s.tensor != 0 && s.tensor % model.kv_heads != 0)
    return concat("tensor is ", s.tensor, ", takes a divisor or a multiple of kv_heads (",
                  model.kv_heads, ")");
  if (s.data_shard % s.expert != 0 || model.experts % s.expert != 0)
    return concat("expert is ", s.expert, ", takes a divisor of data_shard (", s.data_shard,
                  ") and of the experts (", model.experts, ")");
  // A causal mask leaves the ranks equal work where each has one early and one late part.
  if (s.context > 1 && work.sequence % (2 * s.context) != 0)
    return concat("context is ", s.context, ", takes twice itself dividing the sequence (",
                  work.sequence, ")");
  if (s.sequence_parallel && work.sequence / s.context % s.tensor != 0)
    return concat("tensor is ", s.tensor, ", sequence parallelism takes a divisor of ",
                  work.sequence / s.context, " tokens");
  if (s.sequence_parallel && s.tensor == 1)
    return "sequence parallelism takes a tensor axis of more than 1";
  if (model.layers % s.pieces() != 0 && (model.layers + 2) % s.pieces() != 0)
    return concat("pipeline x chunks is ", s.pieces(), ", takes a divisor of ", model.layers,
                  " layers, or of ", model.layers + 2);
  if (work.global_batch % (s.data() * s.micro_batch) != 0)
    return concat("a batch of ", work.global_batch, " is no multiple of data x micro_batch (",
                  s.data(), " x ", s.micro_batch, ")");
  const bool interleaved = s.schedule == PipelineKind::Interleaved;
  if (s.chunks > 1 && !interleaved)
    return concat(s.chunks, " chunks take the interleaved schedule");
  if (interleaved && s.micro_batches(work) % s.pipeline != 0)
    return concat("the interleaved schedule takes a multiple of ", s.pipeline,
                  " micro-batches, not ", s.micro_batches(work));
  return "";
}

void validate(const Workload& work) {
  validate(work.model);
  check(work.sequence >= 1 && work.sequence <= 1 << 24, ErrorKind::Argument, "plan",
        "the sequence is of ", work.sequence, " tokens, takes 1 to ", 1 << 24);
  check(work.global_batch >= 1 && work.global_batch <= 1 << 30, ErrorKind::Argument, "plan",
        "the batch is of ", work.global_batch, " sequences, takes 1 to ", 1 << 30);
}

void validate(const Workload& work, const Strategy& strategy) {
  validate(work);
  const std::string wrong = problem(work, strategy);
  check(wrong.empty(), ErrorKind::Argument, "plan", wrong);
}

}  // namespace plinth::plan
