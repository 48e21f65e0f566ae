#include "distributed/pipeline/channel.h"

#include <utility>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth::distributed {
namespace {

// The note, how many tensors, and of each dtype, dimensions, and up to five sizes.
constexpr int64_t kMostTensors = 2, kMostDims = 5, kDescription = 2 + kMostDims;
constexpr int64_t kHeader = 2 + kMostTensors * kDescription;

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
    const auto side = [=](int of) -> ProcessGroup::Side {
      const int sends_to_it = (of - step + size) % size;
      if (round_of(sends_to_it, step, size) == round) return {sends_to_it, 1};
      return {round_of(of, step, size) == round ? of : -1, 0};
    };
    const bool receives = side(rank).key == 1;
    const int sender = receives ? before : rank, receiver = (sender + step + size) % size;
    const std::shared_ptr<ProcessGroup> pair =
        pipeline.split_by(side, detail::concat(pipeline.name(), "_", sender, "_to_", receiver));
    if (!pair || pair->size() < 2) continue;
    (receives ? from_ : to_) = pair;
  }
}

void Channel::expect(std::vector<Parcel> parcels) {
  expected_.assign(parcels.begin(), parcels.end());
  headers_.clear();
}

void Channel::send_header(const Tensors& tensors, int64_t note) {
  std::vector<int64_t> values = {note, static_cast<int64_t>(tensors.size())};
  for (const Tensor& tensor : tensors) {
    check(tensor.dim() <= kMostDims, ErrorKind::Shape, "pipeline", "got an activation of shape ",
          tensor.shape(), ", takes at most ", kMostDims, " dimensions");
    const size_t start = values.size();
    values.push_back(static_cast<int64_t>(tensor.dtype()));
    values.push_back(tensor.dim());
    for (int64_t d = 0; d < tensor.dim(); ++d) values.push_back(tensor.size(d));
    values.resize(start + kDescription);
  }
  values.resize(kHeader);
  const Tensor header = from_values(values, {kHeader}).to(tensors[0].device());
  sent_.emplace_back(header, to_->send(header, 1));
}

Channel::Header Channel::receive_header(Device device) {
  const Tensor received = Tensor::empty({kHeader}, {DType::Int64, device});
  from_->recv(received, 0).wait();
  const Tensor values = from_->to_host(received);
  const int64_t* const value = values.data<int64_t>();
  Header header;
  header.note = value[0];
  for (int64_t i = 0; i < value[1]; ++i) {
    const int64_t* const own = value + 2 + i * kDescription;
    Description description;
    description.dtype = static_cast<DType>(own[0]);
    for (int64_t d = 0; d < own[1]; ++d) description.shape.push_back(own[2 + d]);
    header.tensors.push_back(description);
  }
  return header;
}

void Channel::send(const Parcel& parcel, const Tensors& tensors, int64_t note) {
  check(!tensors.empty() && static_cast<int64_t>(tensors.size()) <= kMostTensors,
        ErrorKind::Argument, "pipeline", "got ", tensors.size(), " tensors to send, takes 1 to ",
        kMostTensors);
  std::erase_if(sent_, [](const auto& entry) { return entry.second.is_done(); });
  if (parcel.micro_batch == 0) send_header(tensors, note);
  for (const Tensor& tensor : tensors) sent_.emplace_back(tensor, to_->send(tensor, 1));
}

void Channel::ask(Device device, bool waits) {
  if (asked_ || expected_.empty()) return;
  const Parcel parcel = expected_.front();
  if (parcel.micro_batch == 0) {
    if (!waits) return;
    headers_[parcel.piece] = receive_header(device);
  }
  asked_.emplace();
  asked_->parcel = parcel;
  for (const Description& description : headers_.at(parcel.piece).tensors) {
    const Tensor tensor = Tensor::empty(description.shape, {description.dtype, device});
    asked_->last = from_->recv(tensor, 0);
    asked_->tensors.push_back(tensor);
  }
  expected_.pop_front();
}

Tensors Channel::receive(const Parcel& parcel, Device device) {
  while (!kept_.contains(parcel)) {
    ask(device, true);
    check(asked_.has_value(), ErrorKind::Argument, "pipeline", "micro-batch ", parcel.micro_batch,
          " of piece ", parcel.piece, " is not among what the stage before sends");
    asked_->last.wait();  // messages arrive in their order
    kept_[asked_->parcel] = std::move(asked_->tensors);
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
