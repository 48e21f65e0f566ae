#pragma once

// Connections between all ranks of a group, and messages on them. Gloo's headers stay in mesh.cpp.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "distributed/gloo/gloo_group.h"
#include "distributed/store/store.h"

namespace plinth::distributed {

// A network address of this machine, with the thread that serves its connections.
class GlooDevice;
std::shared_ptr<GlooDevice> make_gloo_device(const GlooOptions& options);

// Messages that did not arrive, by ranks.
class MeshError : public std::runtime_error {
 public:
  MeshError(std::vector<int> ranks, const std::string& what)
      : std::runtime_error(what), ranks_(std::move(ranks)) {}
  const std::vector<int>& ranks() const { return ranks_; }

 private:
  std::vector<int> ranks_;
};

class Mesh {
 public:
  struct Outgoing {
    int to;
    const std::byte* data;
    size_t bytes;
  };
  struct Incoming {
    int from;
    std::byte* data;
    size_t bytes;
  };

  // Throws Error(Io) if connecting takes longer than the timeout.
  Mesh(std::shared_ptr<GlooDevice> device, std::shared_ptr<Store> store, int rank, int size,
       const std::string& label, Milliseconds timeout);
  ~Mesh();
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  // Returns when all is sent and received. `call` names the exchange among all others; messages
  // meet only if both ends give the same, and the same size. Throws MeshError of a rank that has
  // closed its connection or is not done at the deadline, or of none if close() was called; the
  // buffers are let go of, and the mesh is of no more use.
  void exchange(const std::string& call, const std::vector<Outgoing>& outgoing,
                const std::vector<Incoming>& incoming,
                std::chrono::steady_clock::time_point deadline);
  // Ends all connections: exchanges throw, here and on other ranks. Any thread may call it.
  void close();

 private:
  class Connections;
  std::unique_ptr<Connections> connections_;
};

}  // namespace plinth::distributed
