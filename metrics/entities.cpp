#include "metrics/entities.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace plinth::metrics {
namespace {

struct Tag {
  char letter = 'O';
  std::string type;
};

Tag parse(const std::string& text) {
  check(!text.empty(), ErrorKind::Argument, "entities_of", "tags got an empty tag, takes O or a ",
        "letter of B, I, E, S, a hyphen and a type");
  const size_t hyphen = text.find('-', 1);
  std::string type = hyphen == std::string::npos ? text.substr(1) : text.substr(hyphen + 1);
  return {text[0], type.empty() ? "_" : type};
}

// Whether a word goes on with the entity of the word before it.
bool continues(const Tag& before, const Tag& tag) {
  const bool open = before.letter == 'B' || before.letter == 'I';
  return open && (tag.letter == 'I' || tag.letter == 'E') && before.type == tag.type;
}

}  // namespace

std::vector<Entity> entities_of(const Tags& tags) {
  std::vector<Entity> entities;
  Tag before;
  for (size_t i = 0; i < tags.size(); ++i) {
    const Tag tag = parse(tags[i]);
    if (tag.letter != 'O') {
      const auto at = static_cast<int64_t>(i);
      if (!continues(before, tag)) entities.push_back({tag.type, at, at});
      entities.back().end = at + 1;
    }
    before = tag;
  }
  return entities;
}

EntityScores score_entities(std::span<const Tags> predicted, std::span<const Tags> actual) {
  constexpr auto op = "score_entities";
  check(predicted.size() == actual.size(), ErrorKind::Argument, op, "got ", predicted.size(),
        " predicted sentences for ", actual.size());
  std::map<std::string, Counts> counts;
  for (size_t s = 0; s < actual.size(); ++s) {
    check(predicted[s].size() == actual[s].size(), ErrorKind::Argument, op, "sentence ", s, " got ",
          predicted[s].size(), " predicted tags for ", actual[s].size());
    const std::vector<Entity> truth = entities_of(actual[s]);
    for (const Entity& entity : truth) ++counts[entity.type].actual;
    for (const Entity& entity : entities_of(predicted[s])) {
      ++counts[entity.type].predicted;
      if (std::ranges::find(truth, entity) != truth.end()) ++counts[entity.type].right;
    }
  }
  EntityScores scores;
  Counts all;
  for (const auto& [type, count] : counts) {
    scores.types.push_back(type);
    scores.of_type.push_back(count.f1());
    all.right += count.right;
    all.predicted += count.predicted;
    all.actual += count.actual;
  }
  scores.micro = all.f1();
  scores.macro = macro_average(scores.of_type);
  scores.weighted = weighted_average(scores.of_type);
  return scores;
}

}  // namespace plinth::metrics
