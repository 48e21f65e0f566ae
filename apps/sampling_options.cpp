#include "apps/sampling_options.h"

#include <CLI/CLI.hpp>

namespace plinth::apps {

void add_sampling_options(CLI::App& command, SamplingOptions& sampling) {
  command.add_option("--temperature", sampling.temperature, "0: the most likely token each time")
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "only the k most likely tokens; 0: all")
      ->capture_default_str();
  command.add_option("--top-p", sampling.top_p, "only the most likely tokens that have p together")
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "above 1 makes tokens that were there less likely")
      ->capture_default_str();
  command.add_option("--seed", sampling.seed, "the same seed gives the same text")
      ->capture_default_str();
}

}  // namespace plinth::apps
