#pragma once

// Sizes and settings of a BERT, as config.json of Hugging Face's "bert" family names them.

#include <cstdint>
#include <optional>
#include <string>

#include "core/io/checkpoint_files.h"
#include "core/ops/activation.h"
#include "kernels/dtype.h"
#include "models/config_json.h"
#include "models/model_size.h"

namespace plinth {

// What there is of a BERT besides its embeddings and blocks.
struct BertParts {
  bool masked_lm = true;  // the head that fills in masked tokens
  bool pooler = false;
  bool next_sentence = false;  // the head that tells whether B follows A; takes the pooler

  // Those of a checkpoint's tensors.
  static BertParts of(const SafetensorsCheckpoint& weights);
  // "BertForPreTraining", "BertForMaskedLM" or "BertModel": transformers' class for them.
  std::string architecture() const;
};

// The defaults are BERT-base, 110 M parameters, uncased.
struct BertConfig {
  int64_t vocab_size = 30522;
  int64_t context = 512;   // max_position_embeddings
  int64_t segments = 2;    // type_vocab_size
  int64_t dim = 768;       // hidden_size
  int64_t layers = 12;     // num_hidden_layers
  int64_t heads = 12;      // num_attention_heads
  int64_t ffn_dim = 3072;  // intermediate_size
  GeluForm gelu = GeluForm::Exact;
  double norm_eps = 1e-12;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  double initializer_range = 0.02;
  bool tied = true;  // the output projection is the token embedding
  std::optional<int64_t> pad_token = 0;
  std::optional<int64_t> bos_token;
  std::vector<int64_t> eos_tokens;  // any of them ends a text
  BertParts parts;

  // The parts are those of `weights` where they are given, else of the class that `architectures`
  // names. Throws Error(Format) naming file and key for what is malformed, or what Plinth's BERT
  // does not compute (decoders, cross-attention, relative positions).
  static BertConfig from_json(const ConfigJson& json, const SafetensorsCheckpoint* weights);
  // Throws Error(Config).
  static BertConfig from_size(const ModelSize& size);
  std::string to_json(DType dtype) const;
};

}  // namespace plinth
