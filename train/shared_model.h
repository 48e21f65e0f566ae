#pragma once

// A language model whose layers, or whose sequences, ranks share.

#include "distributed/tensor/plan.h"
#include "models/language_model.h"

namespace plinth {

// Applies the plan to a whole model: the layers and parameters become this rank's share, and loss()
// takes whole sequences on all ranks and gives them the same. All ranks of both groups call it.
//
// Throws Error(Config), naming the key of `plinth pretrain`, for a context that is no multiple of
// what its parts take; Error(Argument) for what the plan cannot cut.
std::shared_ptr<const distributed::LayerPlan> share_model(
    LanguageModel& model, const distributed::LayerPlanOptions& options);

}  // namespace plinth
