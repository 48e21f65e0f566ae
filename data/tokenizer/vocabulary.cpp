#include "data/tokenizer/vocabulary.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth {

void Vocabulary::add(const std::string& spelling, int32_t id) {
  check(!spelling.empty(), ErrorKind::Format, name_, "the token with id ", id, " is empty");
  const auto index = static_cast<size_t>(id);
  check(index < most_ids_, ErrorKind::Format, name_, "token ", printable(spelling), " has id ", id,
        ", too high for the number of tokens");
  if (index >= spellings_.size()) spellings_.resize(index + 1);
  check(spellings_[index].empty(), ErrorKind::Format, name_, "tokens ",
        printable(spellings_[index]), " and ", printable(spelling), " have the same id, ", id);
  check(ids_.emplace(spelling, id).second, ErrorKind::Format, name_, "token ", printable(spelling),
        " is given twice");
  spellings_[index] = spelling;
}

int32_t Vocabulary::id_of(const std::string& spelling) const {
  const auto found = ids_.find(spelling);
  check(found != ids_.end(), ErrorKind::Format, name_, "merge ", merges_.size(),
        " needs the token ", printable(spelling), ", which the vocabulary lacks");
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
  check(space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos,
        ErrorKind::Format, name_, "merge ", merges_.size(), " is \"", line,
        "\", expected two tokens with one space between");
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
    check(token.id == known->second, ErrorKind::Format, name, "added token ", token.content,
          " has id ", token.id, ", expected ", known->second,
          is_new ? " (the next free one)" : " (its id in the vocabulary)");
    next = std::max(next, token.id + 1);
  }
}

}  // namespace plinth
