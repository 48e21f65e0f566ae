#include "distributed/nccl/unique_id.h"

#include <algorithm>

#include "core/error.h"

namespace plinth::distributed::nccl {

UniqueId exchange_unique_id(Store& store, int rank, const std::string& label,
                            Milliseconds timeout) {
  const Library& nccl = library();
  check(nccl.error.empty(), ErrorKind::Nccl, label, "NCCL cannot be used: ", nccl.error);
  constexpr std::string_view kKey = "unique id";
  UniqueId id;
  if (rank == 0) {
    const int result = nccl.unique_id(&id);
    check(result == kSuccess, ErrorKind::Nccl, label,
          "ncclGetUniqueId: ", nccl.error_string(result));
    store.set(kKey, {id.bytes.data(), id.bytes.size()});
    return id;
  }
  const std::string text = store.get(kKey, timeout);
  check(text.size() == id.bytes.size(), ErrorKind::Io, label, "the store's unique id has ",
        text.size(), " bytes, takes ", id.bytes.size());
  std::ranges::copy(text, id.bytes.begin());
  return id;
}

}  // namespace plinth::distributed::nccl
