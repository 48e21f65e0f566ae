#pragma once

// Language models as ONNX files, for inference by other programs (onnxruntime, say): GPT-2, Llama
// and BERT, in float32.
//
//   input_ids [batch, time] int64                            in
//   attention_mask, token_type_ids [batch, time] int64       in, of a BERT: 1 where a token is no
//                                                            padding, and the segment of each
//   logits [batch, time, vocab_size]                         out; of a BERT without its head
//                                                            last_hidden_state, [batch, time, dim]
//
// There is no cache of keys and values: each call takes whole sequences.

#include <filesystem>

#include "models/language_model.h"

namespace plinth {

// Throws Error(Argument) for another model, or a Llama of experts.
void save_onnx(const LanguageModel& model, const std::filesystem::path& path,
               uint64_t max_inline_bytes = uint64_t{1} << 30);

}  // namespace plinth
