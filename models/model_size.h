#pragma once

// What a new model is to be, in words that every family shares.

#include <cstdint>
#include <optional>
#include <string>

namespace plinth {

struct ModelSize {
  std::string type = "gpt2";  // a family of the registry
  int64_t vocab_size = 0;
  int64_t context = 256;  // positions
  int64_t layers = 4;
  int64_t dim = 256;
  int64_t heads = 8;
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t ffn_dim = 0;   // 0: the family's own
  bool tied = true;      // the output projection is the token embedding
  double dropout = 0;
  double rope_theta = 10000;
  int64_t experts = 8;  // of a block, and how many of them a token uses
  int64_t experts_per_token = 2;
  double balance_coefficient = 0.02;  // of the load-balancing loss
  std::optional<int64_t> eos_token;
};

}  // namespace plinth
