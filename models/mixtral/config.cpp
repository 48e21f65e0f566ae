#include "models/mixtral/config.h"

#include "core/error.h"

namespace plinth {

// What config.json leaves out takes the defaults of transformers' MixtralConfig.
LlamaConfig MixtralConfig::from_json(const ConfigJson& json) {
  LlamaConfig defaults;
  defaults.context = 4096 * 32;
  defaults.norm_eps = 1e-5;
  defaults.rope_theta = 1e6;
  LlamaConfig config = LlamaConfig::from_json(json, defaults);
  check(!json.has("sliding_window") || json.size("sliding_window") >= config.context,
        ErrorKind::Format, json.subject(),
        "sliding_window is shorter than max_position_embeddings, takes null");
  check(json.number("router_jitter_noise", 0) == 0, ErrorKind::Format, json.subject(),
        "router_jitter_noise is set, takes 0");
  config.experts = {.count = json.count("num_local_experts", 8),
                    .per_token = json.size("num_experts_per_tok", 2),
                    .balance_coefficient = json.number("router_aux_loss_coef", 0.001),
                    .adds_balance_loss = json.boolean("output_router_logits", false)};
  check(config.experts->per_token <= config.experts->count, ErrorKind::Format, json.subject(),
        "num_experts_per_tok is ", config.experts->per_token, ", takes at most num_local_experts ",
        config.experts->count);
  return config;
}

LlamaConfig MixtralConfig::from_size(const ModelSize& size) {
  check(size.experts >= 1 && size.experts_per_token >= 1, ErrorKind::Config, "model.experts",
        "got ", size.experts, " experts, ", size.experts_per_token,
        " a token; mixtral takes at least 1 of each");
  LlamaConfig config = LlamaConfig::from_size(size);
  config.norm_eps = 1e-5;
  config.experts = {.count = size.experts,
                    .per_token = size.experts_per_token,
                    .balance_coefficient = size.balance_coefficient,
                    .adds_balance_loss = size.balance_coefficient > 0};
  config.validate();
  return config;
}

}  // namespace plinth
