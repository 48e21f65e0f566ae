#pragma once

// Every layer of nn/layers.

#include "nn/layers/attention.h"
#include "nn/layers/basic.h"
#include "nn/layers/conv.h"
#include "nn/layers/embedding.h"
#include "nn/layers/kv_cache.h"
#include "nn/layers/linear.h"
#include "nn/layers/mixture_of_experts.h"
#include "nn/layers/mlp.h"
#include "nn/layers/norm.h"
#include "nn/layers/relative_position.h"
