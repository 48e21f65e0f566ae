#pragma once

// One vector for a text: Sentence-BERT's (Reimers & Gurevych 2019, arXiv 1908.10084).

#include "models/bert/bert.h"

namespace plinth {

// The mean of encode()'s outputs over each sequence's tokens, [batch, dim], at length 1 if
// `normalized`; 0 for a sequence of none. Takes inputs.lengths. Throws what encode() does,
// Error(Argument) without lengths.
Tensor sentence_embeddings(Bert& model, const Tensor& ids, const BertInputs& inputs,
                           bool normalized = true);

}  // namespace plinth
