#pragma once

// What the config.json files of BERT and of its classifiers share.

#include <nlohmann/json_fwd.hpp>

#include "models/bert/config.h"

namespace plinth {

// All but the parts. Throws what BertConfig::from_json() does.
BertConfig read_bert_sizes(const ConfigJson& json);
nlohmann::ordered_json write_bert_sizes(const BertConfig& config, const std::string& architecture);

}  // namespace plinth
