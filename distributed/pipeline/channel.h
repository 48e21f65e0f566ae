#pragma once

// Tensors from one pipeline stage to the next, in one direction: activations forward, gradients
// backward.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

// What a stage passes on: of which piece of the model it is, for which micro-batch.
struct Parcel {
  int piece = 0;
  int micro_batch = 0;
  auto operator<=>(const Parcel&) const = default;
};

// A group of two ranks for each pair of neighbours, rank 0 of it sending: a send that waits for its
// recv holds up nothing but later sends of the same kind.
class Channel {
 public:
  // All ranks of `pipeline` call it. Rank r sends to rank r + step, modulo the size; where
  // `is_ring` is false, nothing goes between the first and the last.
  Channel(ProcessGroup& pipeline, int step, bool is_ring);

  // Parcels of a step that will arrive here, in the order in which the sender sends them.
  void expect(std::vector<Parcel> parcels);

  // Sends one or two tensors, which are contiguous. What is sent of a piece in one step has the
  // same shapes; with its first micro-batch go shapes, dtypes and `note`.
  void send(const Parcel& parcel, const Tensors& tensors, int64_t note);
  // Waits for a parcel; others that were sent before it are kept until they are asked for. On
  // `device`. The next one is asked for, so that it arrives meanwhile.
  Tensors receive(const Parcel& parcel, Device device);
  // What came with the piece's first micro-batch.
  int64_t note(int piece) const { return headers_.at(piece).note; }

  // Waits until all that was sent has arrived.
  void flush();

 private:
  struct Description {
    Shape shape;
    DType dtype = DType::Float32;
  };
  struct Header {
    std::vector<Description> tensors;
    int64_t note = 0;
  };
  struct Arrival {
    Parcel parcel;
    Tensors tensors;
    Work last;
  };

  void send_header(const Tensors& tensors, int64_t note);
  Header receive_header(Device device);
  // Asks for the next parcel; where a header comes before it, only if that is to be waited for.
  void ask(Device device, bool waits);

  std::shared_ptr<ProcessGroup> to_, from_;
  std::deque<Parcel> expected_;
  std::map<int, Header> headers_;  // of pieces
  std::optional<Arrival> asked_;
  std::map<Parcel, Tensors> kept_;
  std::vector<std::pair<Tensor, Work>> sent_;
};

}  // namespace plinth::distributed
