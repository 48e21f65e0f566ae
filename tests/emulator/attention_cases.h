#pragma once

// The cases of the GPU's attention kernels' tests: every feature of attention.h.

#include <cstdint>
#include <string>
#include <vector>

namespace plinth::kernels::cuda::attention_testing {

enum class Bias : uint8_t {
  None,
  Whole,      // [batch, heads, queries, keys]
  OfKeys,     // [batch, 1, 1, keys]
  OfQueries,  // [1, heads, queries, 1]
};

struct Case {
  std::string name;
  int64_t batch = 1, heads = 1, kv_heads = 1, q_len = 0, kv_len = 0, head_dim = 0;
  bool causal = false;
  int64_t window = 0;
  float dropout = 0;
  cpu::DropoutWhole whole = {};
  std::vector<int64_t> kv_lengths = {};
  std::vector<int64_t> cu_seqlens_q = {}, cu_seqlens_k = {};
  double scale = 0;  // 0: 1 / sqrt(head_dim)
  float soft_cap = 0;
  bool alibi = false;
  Bias bias = Bias::None;
  bool sinks = false;
  bool no_first_sink = false;  // that of head 0 is -inf
  bool dlse = false;
  int64_t gap = 0;  // elements between the heads of a token
};

// Every feature at this head dimension, with remainders of tiles of so many queries and keys.
inline std::vector<Case> cases_of(int64_t head_dim, int64_t query_tile, int64_t key_tile) {
  const int64_t queries = query_tile + 5, keys = 2 * key_tile + 3;
  std::vector<Case> cases{
      {.name = "one key", .q_len = 1, .kv_len = 1},
      {.name = "full",
       .batch = 2,
       .heads = 2,
       .kv_heads = 2,
       .q_len = queries,
       .kv_len = keys,
       .gap = 8},
      {.name = "causal",
       .heads = 2,
       .kv_heads = 2,
       .q_len = keys + 6,
       .kv_len = keys + 6,
       .causal = true},
      {.name = "causal, more keys than queries",
       .heads = 2,
       .kv_heads = 2,
       .q_len = 9,
       .kv_len = keys,
       .causal = true},
      {.name = "causal, queries before all keys",
       .heads = 2,
       .kv_heads = 2,
       .q_len = query_tile + 9,
       .kv_len = 9,
       .causal = true},
      {.name = "window",
       .heads = 2,
       .kv_heads = 2,
       .q_len = 3 * key_tile,
       .kv_len = 3 * key_tile,
       .causal = true,
       .window = 5},
      {.name = "window on both sides",
       .q_len = query_tile + 2,
       .kv_len = query_tile + 11,
       .window = 7},
      {.name = "grouped queries",
       .batch = 2,
       .heads = 6,
       .kv_heads = 2,
       .q_len = 11,
       .kv_len = 11,
       .causal = true},
      {.name = "padding",
       .batch = 4,
       .heads = 2,
       .kv_heads = 1,
       .q_len = 12,
       .kv_len = 2 * key_tile,
       .kv_lengths = {key_tile + 1, 2 * key_tile, 0, 7}},
      {.name = "packed",
       .heads = 2,
       .kv_heads = 1,
       .q_len = query_tile + 60,
       .kv_len = key_tile + 77,
       .causal = true,
       .cu_seqlens_q = {0, 3, 3, query_tile + 41, query_tile + 60},
       .cu_seqlens_k = {0, 5, 9, key_tile + 50, key_tile + 77}},
      {.name = "dropout",
       .batch = 2,
       .heads = 2,
       .kv_heads = 1,
       .q_len = 10,
       .kv_len = key_tile + 10,
       .dropout = 0.3f},
      {.name = "dropout of a part",
       .batch = 2,
       .heads = 2,
       .kv_heads = 1,
       .q_len = 10,
       .kv_len = key_tile + 10,
       .dropout = 0.3f,
       .whole = {.head = 3, .query = 7, .key = 8, .queries = 19, .keys = key_tile + 37}},
      {.name = "packed with window and dropout",
       .heads = 2,
       .kv_heads = 2,
       .q_len = key_tile + 40,
       .kv_len = key_tile + 40,
       .causal = true,
       .window = key_tile,
       .dropout = 0.25f,
       .cu_seqlens_q = {0, key_tile + 33, key_tile + 40},
       .cu_seqlens_k = {0, key_tile + 33, key_tile + 40}},
      {.name = "large scores", .q_len = 20, .kv_len = 2 * key_tile, .scale = 1.5},
      {.name = "negative scale", .q_len = 9, .kv_len = key_tile + 2, .causal = true, .scale = -0.2},
      {.name = "soft cap", .q_len = 18, .kv_len = key_tile + 5, .soft_cap = 1.5f},
      {.name = "ALiBi",
       .heads = 4,
       .kv_heads = 2,
       .q_len = 21,
       .kv_len = key_tile + 21,
       .causal = true,
       .alibi = true},
      {.name = "bias",
       .batch = 2,
       .heads = 2,
       .kv_heads = 1,
       .q_len = 19,
       .kv_len = key_tile + 5,
       .bias = Bias::Whole},
      {.name = "bias of keys",
       .batch = 2,
       .heads = 2,
       .kv_heads = 2,
       .q_len = 9,
       .kv_len = key_tile + 3,
       .bias = Bias::OfKeys},
      {.name = "bias of queries",
       .batch = 2,
       .heads = 2,
       .kv_heads = 2,
       .q_len = 9,
       .kv_len = 13,
       .bias = Bias::OfQueries},
      {.name = "sinks, queries before all keys",
       .heads = 2,
       .kv_heads = 1,
       .q_len = 30,
       .kv_len = 9,
       .causal = true,
       .sinks = true},
      {.name = "a sink of -inf, queries before all keys",
       .heads = 2,
       .kv_heads = 1,
       .q_len = 30,
       .kv_len = 9,
       .causal = true,
       .sinks = true,
       .no_first_sink = true},
      {.name = "gradient of lse",
       .heads = 2,
       .kv_heads = 1,
       .q_len = 17,
       .kv_len = 20,
       .causal = true,
       .dlse = true},
      {.name = "all at once",
       .batch = 2,
       .heads = 4,
       .kv_heads = 2,
       .q_len = 37,
       .kv_len = key_tile + 29,
       .causal = true,
       .window = key_tile + 6,
       .dropout = 0.2f,
       .kv_lengths = {key_tile + 29, key_tile + 11},
       .soft_cap = 3,
       .alibi = true,
       .bias = Bias::Whole,
       .sinks = true,
       .dlse = true,
       .gap = 16},
      {.name = "no keys", .q_len = 5, .kv_len = 0},
      {.name = "no queries", .q_len = 0, .kv_len = 5},
  };
  for (Case& c : cases) c.head_dim = head_dim;
  return cases;
}

}  // namespace plinth::kernels::cuda::attention_testing
