#include "data/tokenizer/vocabulary.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth {

// Messages are only made where they are thrown: a vocabulary has a hundred thousand tokens.
void Vocabulary::refuse(std::string_view what, std::string_view token,
                        std::string_view rest) const {
  throw Error(ErrorKind::Format, name_, detail::concat(what, printable(token), rest));
}

void Vocabulary::add(const std::string& spelling, int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (spelling.empty()) refuse("the token with id ", std::to_string(id), " is empty");
  if (index >= most_ids_)
    refuse("the id of token ", spelling, " is too high for the number of tokens");
  if (index >= spellings_.size()) spellings_.resize(index + 1);
  if (!spellings_[index].empty()) refuse("token ", spelling, " has the same id as another");
  if (!ids_.emplace(spelling, id).second) refuse("token ", spelling, " is given twice");
  spellings_[index] = spelling;
}

int32_t Vocabulary::id_of(const std::string& spelling) const {
  const auto found = ids_.find(spelling);
  if (found == ids_.end())
    refuse("a merge needs the token ", spelling, ", which the vocabulary lacks");
  return found->second;
}

void Vocabulary::add_merge(const std::string& left, const std::string& right) {
  const int32_t left_id = id_of(left);
  const int32_t right_id = id_of(right);
  merged_ids_.push_back(id_of(left + right));
  merges_.emplace_back(left_id, right_id);
}

void Vocabulary::add_merge(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    refuse("a merge is ", line, ", expected two tokens with one space between");
  }
  add_merge(std::string(line.substr(0, space)), std::string(line.substr(space + 1)));
}

void Vocabulary::move_to(TokenizerSpec& spec) {
  spec.vocabulary = std::move(spellings_);
  spec.merges = std::move(merges_);
  spec.merged_ids = std::move(merged_ids_);
}

void check_added_ids(const TokenizerSpec& spec, std::string_view name) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t id = 0; id < spec.vocabulary.size(); ++id) {
    if (!spec.vocabulary[id].empty()) ids.emplace(spec.vocabulary[id], static_cast<int32_t>(id));
  }
  auto next = static_cast<int32_t>(ids.size());
  for (const AddedToken& token : spec.added) {
    const auto [known, is_new] = ids.emplace(token.content, next);
    check(token.id == known->second, ErrorKind::Format, name, "added token ",
          printable(token.content), " has id ", token.id, ", expected ", known->second,
          is_new ? " (the next free one)" : " (its id in the vocabulary)");
    next = std::max(next, token.id + 1);
  }
}

}  // namespace plinth
