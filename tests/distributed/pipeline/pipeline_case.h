#pragma once

#include "distributed/pipeline/schedule.h"

namespace plinth::distributed {

struct PipelineCase {
  PipelineKind kind;
  int stages, chunks, micro_batches;
};

}  // namespace plinth::distributed
