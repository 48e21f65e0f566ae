#include "distributed/host/label.h"

#include "core/error.h"

namespace plinth::distributed {

std::string label_of(const std::string& name, int rank, int size) {
  return detail::concat("group '", name, "', rank ", rank, " of ", size);
}

std::string list_ranks(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += i + 1 < ranks.size() ? ", " : " and ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

}  // namespace plinth::distributed
