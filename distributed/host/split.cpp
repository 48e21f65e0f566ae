#include "distributed/host/split.h"

#include <algorithm>
#include <tuple>

namespace plinth::distributed {

Part agree_on_part(ProcessGroup& group, int color, int key) {
  const Tensor own = Tensor::empty({1, 2}, {DType::Int64});
  own.data<int64_t>()[0] = color;
  own.data<int64_t>()[1] = key;
  const Tensor all = Tensor::empty({group.size(), 2}, {DType::Int64});
  group.all_gather(all, own).wait();
  const int64_t* of = all.data<int64_t>();
  Part part;
  for (int r = 0; r < group.size(); ++r)
    if (of[2 * r] == color) part.members.push_back(r);
  std::ranges::stable_sort(part.members, {}, [&](int r) { return of[2 * r + 1]; });
  part.rank =
      static_cast<int>(std::ranges::find(part.members, group.rank()) - part.members.begin());
  return part;
}

}  // namespace plinth::distributed
