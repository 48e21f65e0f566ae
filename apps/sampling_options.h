#pragma once

#include "models/sampler.h"

namespace CLI {
class App;
}

namespace plinth::apps {

// --temperature and what else says how tokens are drawn; the defaults are those of `sampling`.
void add_sampling_options(CLI::App& command, SamplingOptions& sampling);

}  // namespace plinth::apps
