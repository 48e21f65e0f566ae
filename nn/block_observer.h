#pragma once

#include "nn/module.h"

namespace plinth::nn {

// An observer of a model's blocks, which need not see the modules inside them: these may run
// several of their own as one op, as they do when nobody looks.
class BlockObserver : public ForwardObserver {};

}  // namespace plinth::nn
