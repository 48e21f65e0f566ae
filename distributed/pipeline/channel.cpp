#include "distributed/pipeline/channel.h"

#include <utility>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::distributed {
namespace {

// dtype, note, dimensions, and up to five sizes.
constexpr int64_t kHeader = 8, kMostDims = 5;

// Groups of two along a line or ring of ranks, in three rounds of which each rank is in at most one
// pair: pairs that begin with an even rank, an odd one, and that of the last with the first.
int round_of(int sender, int step, int size) {
  const int lower = step > 0 ? sender : (sender - 1 + size) % size;
  return lower == size - 1 ? 2 : lower % 2;
}

}  // namespace

Channel::Channel(ProcessGroup& pipeline, int step, bool is_ring) {
  const int size = pipeline.size(), rank = pipeline.rank();
  const int before = (rank - step + size) % size;
  for (int round = 0; round < (is_ring ? 3 : 2); ++round) {
    int color = -1, key = 0;
    if (round_of(rank, step, size) == round) color = rank;
    if (round_of(before, step, size) == round) {
      color = before;
      key = 1;
    }
    const int sender = key == 0 ? rank : before, receiver = (sender + step + size) % size;
    const std::shared_ptr<ProcessGroup> pair =
        pipeline.split(color, key, detail::concat(pipeline.name(), "_", sender, "_to_", receiver));
    if (!pair || pair->size() < 2) continue;
    (key == 0 ? to_ : from_) = pair;
  }
}

void Channel::expect(std::vector<Parcel> parcels) {
  expected_.assign(parcels.begin(), parcels.end());
  headers_.clear();
}

void Channel::send_header(const Tensor& tensor, int64_t note) {
  check(tensor.dim() <= kMostDims, ErrorKind::Shape, "pipeline", "got an activation of shape ",
        tensor.shape(), ", takes at most ", kMostDims, " dimensions");
  std::vector<int64_t> values = {static_cast<int64_t>(tensor.dtype()), note, tensor.dim()};
  for (int64_t d = 0; d < tensor.dim(); ++d) values.push_back(tensor.size(d));
  values.resize(kHeader);
  const Tensor header = from_values(values, {kHeader}).to(tensor.device());
  sent_.emplace_back(header, to_->send(header, 1));
}

Channel::Header Channel::receive_header(Device device) {
  const Tensor received = Tensor::empty({kHeader}, {DType::Int64, device});
  from_->recv(received, 0).wait();
  const Tensor values = received.to(Device{});
  const int64_t* const value = values.data<int64_t>();
  Header header;
  header.dtype = static_cast<DType>(value[0]);
  header.note = value[1];
  for (int64_t d = 0; d < value[2]; ++d) header.shape.push_back(value[3 + d]);
  return header;
}

void Channel::send(const Parcel& parcel, const Tensor& tensor, int64_t note) {
  std::erase_if(sent_, [](const auto& entry) { return entry.second.is_done(); });
  if (parcel.micro_batch == 0) send_header(tensor, note);
  sent_.emplace_back(tensor, to_->send(tensor, 1));
}

void Channel::ask(Device device, bool waits) {
  if (asked_ || expected_.empty()) return;
  const Parcel parcel = expected_.front();
  if (parcel.micro_batch == 0) {
    if (!waits) return;
    headers_[parcel.piece] = receive_header(device);
  }
  const Header& header = headers_.at(parcel.piece);
  const Tensor tensor = Tensor::empty(header.shape, {header.dtype, device});
  asked_ = Arrival{parcel, tensor, from_->recv(tensor, 0)};
  expected_.pop_front();
}

Tensor Channel::receive(const Parcel& parcel, Device device) {
  while (!kept_.contains(parcel)) {
    ask(device, true);
    check(asked_.has_value(), ErrorKind::Argument, "pipeline", "micro-batch ", parcel.micro_batch,
          " of piece ", parcel.piece, " is not among what the stage before sends");
    asked_->work.wait();
    kept_[asked_->parcel] = asked_->tensor;
    asked_.reset();
  }
  ask(device, false);
  return std::move(kept_.extract(parcel).mapped());
}

void Channel::flush() {
  for (const auto& [tensor, work] : sent_) work.wait();
  sent_.clear();
}

}  // namespace plinth::distributed
