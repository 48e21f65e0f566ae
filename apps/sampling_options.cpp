#include "apps/sampling_options.h"

#include <CLI/CLI.hpp>

#include "apps/numbers.h"

namespace plinth::apps {

void add_sampling_options(CLI::App& command, SamplingOptions& sampling) {
  command.add_option("--temperature", sampling.temperature, "0: the most likely token each time")
      ->check(real_number(0))
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "only the k most likely tokens; 0: all")
      ->check(whole_number(0))
      ->capture_default_str();
  command.add_option("--top-p", sampling.top_p, "only the most likely tokens that have p together")
      ->check(positive_number(1))
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "above 1 makes tokens that were there less likely")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--seed", sampling.seed, "the same seed gives the same text")
      ->check(seed_number())
      ->capture_default_str();
}

}  // namespace plinth::apps
