#pragma once

// How well a tagger finds entities: named entities, chunks. An entity counts where its type, its
// begin and its end are right (CoNLL-2000 and later). Equal to seqeval's default mode.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metrics/classification.h"

namespace plinth::metrics {

using Tags = std::vector<std::string>;  // of a sentence: "O", "B-PER", "I-PER", "E-PER", "S-PER"

struct Entity {
  std::string type;
  int64_t begin, end;  // words, the last excluded

  bool operator==(const Entity&) const = default;
};

// In their order. What follows the letter and its hyphen is the type, "_" where nothing does. An
// entity also begins where an I or E follows none of its type, as in CoNLL's own script. Throws
// Error(Argument) for an empty tag.
std::vector<Entity> entities_of(const Tags& tags);

struct EntityScores {
  F1 micro, macro, weighted;
  std::vector<std::string> types;  // in the order of the alphabet
  std::vector<F1> of_type;
};

// Throws Error(Argument) unless there are as many sentences, of the same words, in both.
EntityScores score_entities(std::span<const Tags> predicted, std::span<const Tags> actual);

}  // namespace plinth::metrics
