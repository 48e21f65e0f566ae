#include "distributed/process_group.h"

#include <functional>
#include <utility>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::distributed {
namespace {

using Kind = CollectiveKind;

bool sums_narrow_or_wide(DType dtype) {
  return dtype == DType::Float64 || dtype == DType::Float32 || dtype == DType::BFloat16 ||
         dtype == DType::Float16 || dtype == DType::Int64 || dtype == DType::Int32;
}

void check_reducible(std::string_view op, DType dtype) {
  check(sums_narrow_or_wide(dtype), ErrorKind::DType, op, "got ", name(dtype),
        ", takes float64, float32, bfloat16, float16, int64 or int32");
}

}  // namespace

ProcessGroup::ProcessGroup(int rank, int size, GroupOptions options)
    : rank_(rank), size_(size), options_(std::move(options)) {
  check(size > 0 && rank >= 0 && rank < size, ErrorKind::Argument, "ProcessGroup", "rank got ",
        rank, " of ", size, ", takes 0 to size - 1");
  check(options_.timeout > Milliseconds(0), ErrorKind::Argument, "ProcessGroup", "timeout got ",
        options_.timeout.count(), " ms, takes more than 0");
}

std::shared_ptr<ProcessGroup> ProcessGroup::split_by(const std::function<Side(int rank)>& side,
                                                     const std::string& name) {
  const auto [color, key] = side(rank_);
  return split(color, key, name);
}

Work ProcessGroup::begin(Collective collective, Tensors held) {
  const std::string_view op = distributed::name(collective.kind);
  for (const Tensor& tensor : held) {
    check(tensor.defined(), ErrorKind::Argument, op, "got an undefined tensor");
    check(tensor.is_contiguous(), ErrorKind::Argument, op,
          "got a tensor that is not contiguous, takes a contiguous one; call contiguous()");
    check(serves(tensor.device()), ErrorKind::Device, op, "got a tensor on ", tensor.device(),
          ", which the backend ", backend(), " of group ", name(), " does not serve");
    check(tensor.dtype() == held[0].dtype() && tensor.device() == held[0].device(),
          ErrorKind::DType, op, "got ", plinth::name(held[0].dtype()), " on ", held[0].device(),
          " and ", plinth::name(tensor.dtype()), " on ", tensor.device(), ", takes one of both");
  }
  if (!held.empty()) collective.dtype = held[0].dtype();
  if (!is_message(collective)) collective.number = ++collectives_;
  return start(std::move(collective), std::move(held));
}

Tensor ProcessGroup::make_buffer(int64_t elements, TensorOptions options) {
  check(serves(options.device), ErrorKind::Device, "make_buffer", "got ", options.device,
        ", which a group of ", backend(), " does not serve");
  return zeros({elements}, options);
}

Tensor ProcessGroup::to_host(const Tensor& result) {
  const Tensor host = result.detach().to(Device{}).contiguous();
  raise_if_failed();
  return host;
}

Work ProcessGroup::all_reduce(const Tensor& tensor, ReduceOp op) {
  check(tensor.defined(), ErrorKind::Argument, "all_reduce", "got an undefined tensor");
  check_reducible("all_reduce", tensor.dtype());
  return begin({.kind = Kind::AllReduce,
                .op = op,
                .in = tensor.raw_data(),
                .out = tensor.raw_data(),
                .count = tensor.numel()},
               {tensor});
}

namespace {

// The elements of `part`, of which `whole` has to have `size` along its first dimension.
int64_t check_parts(std::string_view op, const Tensor& whole, const Tensor& part, int size,
                    std::string_view whole_name, std::string_view part_name) {
  check(whole.defined() && part.defined(), ErrorKind::Argument, op, "got an undefined tensor");
  check(part.dim() >= 1, ErrorKind::Shape, op, part_name, " has no dimension, takes one or more");
  Shape expected = part.shape();
  expected[0] *= size;
  check(whole.shape() == expected, ErrorKind::Shape, op, whole_name, " has shape ", whole.shape(),
        ", expected ", expected, " (", size, " times ", part_name, "'s first size)");
  return part.numel();
}

// Where `part` lies in `whole`, if it does, it has to begin at its byte `allowed`; nowhere if that
// is negative.
void check_overlap(std::string_view op, const Tensor& whole, const Tensor& part, int64_t allowed) {
  const auto bytes = [](const Tensor& tensor) {
    return tensor.numel() * static_cast<int64_t>(size_of(tensor.dtype()));
  };
  const auto* begin = static_cast<const char*>(whole.raw_data());
  const auto* at = static_cast<const char*>(part.raw_data());
  const std::less<> before;
  const bool apart = bytes(part) == 0 || bytes(whole) == 0 || !before(at, begin + bytes(whole)) ||
                     !before(begin, at + bytes(part));
  check(apart || (allowed >= 0 && at == begin + allowed), ErrorKind::Argument, op,
        "in and out share memory",
        allowed >= 0 ? ", and the smaller is not the part of this rank in the larger" : "");
}

}  // namespace

Work ProcessGroup::reduce_scatter(const Tensor& out, const Tensor& in, ReduceOp op) {
  const int64_t count = check_parts("reduce_scatter", in, out, size_, "in", "out");
  check_reducible("reduce_scatter", in.dtype());
  check_overlap("reduce_scatter", in, out, rank_ * count * size_of(in.dtype()));
  return begin({.kind = Kind::ReduceScatter,
                .op = op,
                .in = in.raw_data(),
                .out = out.raw_data(),
                .count = count},
               {out, in});
}

Work ProcessGroup::all_gather(const Tensor& out, const Tensor& in) {
  const int64_t count = check_parts("all_gather", out, in, size_, "out", "in");
  check_overlap("all_gather", out, in, rank_ * count * size_of(in.dtype()));
  return begin(
      {.kind = Kind::AllGather, .in = in.raw_data(), .out = out.raw_data(), .count = count},
      {out, in});
}

Work ProcessGroup::all_to_all(const Tensor& out, const Tensor& in) {
  check(out.defined() && in.defined(), ErrorKind::Argument, "all_to_all",
        "got an undefined tensor");
  check(in.dim() >= 1 && in.size(0) % size_ == 0, ErrorKind::Shape, "all_to_all", "in has shape ",
        in.shape(), ", takes a first size that ", size_, " ranks divide");
  check(out.dim() >= 1 && out.size(0) % size_ == 0, ErrorKind::Shape, "all_to_all",
        "out has shape ", out.shape(), ", takes a first size that ", size_, " ranks divide");
  return all_to_all(out, in, std::vector<int64_t>(size_, in.size(0) / size_),
                    std::vector<int64_t>(size_, out.size(0) / size_));
}

Work ProcessGroup::all_to_all(const Tensor& out, const Tensor& in, const std::vector<int64_t>& sent,
                              const std::vector<int64_t>& received) {
  check(out.defined() && in.defined(), ErrorKind::Argument, "all_to_all",
        "got an undefined tensor");
  check_overlap("all_to_all", in, out, -1);
  // In elements.
  const auto rows = [&](const Tensor& tensor, const std::vector<int64_t>& counts,
                        std::string_view what) {
    check(tensor.dim() >= 1, ErrorKind::Shape, "all_to_all", what,
          " has no dimension, takes one or more");
    check(std::ssize(counts) == size_, ErrorKind::Argument, "all_to_all", "got ", counts.size(),
          " counts of rows of ", what, ", takes one a rank (", size_, ")");
    int64_t all = 0;
    for (const int64_t count : counts) {
      check(count >= 0, ErrorKind::Argument, "all_to_all", "a count of rows of ", what, " is ",
            count, ", takes 0 or more");
      all += count;
    }
    check(all == tensor.size(0), ErrorKind::Shape, "all_to_all", what, " has shape ",
          tensor.shape(), ", and its counts of rows add up to ", all);
    const int64_t row = tensor.size(0) > 0 ? tensor.numel() / tensor.size(0) : 0;
    std::vector<int64_t> elements = counts;
    for (int64_t& count : elements) count *= row;
    return elements;
  };
  return begin({.kind = Kind::AllToAll,
                .in = in.raw_data(),
                .out = out.raw_data(),
                .sent = rows(in, sent, "in"),
                .received = rows(out, received, "out")},
               {out, in});
}

namespace {

void check_peer(std::string_view op, const char* argument, int peer, int size) {
  check(peer >= 0 && peer < size, ErrorKind::Argument, op, argument, " got ", peer, ", takes 0 to ",
        size - 1);
}

}  // namespace

Work ProcessGroup::broadcast(const Tensor& tensor, int root) {
  check(tensor.defined(), ErrorKind::Argument, "broadcast", "got an undefined tensor");
  check_peer("broadcast", "root", root, size_);
  return begin({.kind = Kind::Broadcast,
                .in = tensor.raw_data(),
                .out = tensor.raw_data(),
                .count = tensor.numel(),
                .peer = root},
               {tensor});
}

Work ProcessGroup::send(const Tensor& tensor, int to) {
  check(tensor.defined(), ErrorKind::Argument, "send", "got an undefined tensor");
  check_peer("send", "to", to, size_);
  check(to != rank_, ErrorKind::Argument, "send", "to got ", to, ", which is this rank itself");
  return begin({.kind = Kind::Send, .in = tensor.raw_data(), .count = tensor.numel(), .peer = to},
               {tensor});
}

Work ProcessGroup::recv(const Tensor& tensor, int from) {
  check(tensor.defined(), ErrorKind::Argument, "recv", "got an undefined tensor");
  check_peer("recv", "from", from, size_);
  check(from != rank_, ErrorKind::Argument, "recv", "from got ", from,
        ", which is this rank itself");
  return begin(
      {.kind = Kind::Recv, .out = tensor.raw_data(), .count = tensor.numel(), .peer = from},
      {tensor});
}

Work ProcessGroup::barrier() {
  return begin({.kind = Kind::Barrier}, {});
}

}  // namespace plinth::distributed
