#pragma once

// The language model that a run begins with, before its parameters have memory: ranks that share a
// model agree first on who has what, and no process has all of it.

#include <functional>
#include <memory>
#include <string>

#include "data/tokenizer/tokenizer.h"
#include "distributed/tensor/shards.h"
#include "models/language_model.h"
#include "nn/absent.h"
#include "train/pretrain/config.h"

namespace plinth {

// Writes the values of a parameter, whole and on the CPU, by its name.
using WholeValues = std::function<void(const std::string& name, const Tensor& whole)>;

struct StartModel {
  std::unique_ptr<LanguageModel> model;  // its parameters are absent
  WholeValues write;
};

// That of model.init_from, whose files are open for as long as write, or a new one, of values drawn
// from the seed; `tokenizer` may be null. Without `reads_weights`, values of a file are left as
// they are. Throws Error(Config); Error(Io) or Error(Format) for files that do not fit the model,
// before any value is read.
StartModel start_model(const PretrainConfig& config, const Tokenizer* tokenizer, bool reads_weights,
                       const std::function<void(const std::string&)>& tell);

// What a rank has of such values; `shards` (null: all of a parameter) outlives them.
nn::ParameterValues own_values(WholeValues write, const distributed::ParameterParts* shards);

}  // namespace plinth
