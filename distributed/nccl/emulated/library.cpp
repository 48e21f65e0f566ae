#include "distributed/nccl/library.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "distributed/nccl/emulated/emulated.h"
#include "kernels/device/emulate/stream.h"

namespace plinth::distributed::nccl {
namespace {

// The library's own mutex: its calls come from several threads.
std::mutex mutex;
EmulatedState state;
int error = kSuccess;

struct Comm {
  int ranks, rank;
  int polls;  // left until its last call is settled
};
std::set<const void*> alive;  // communicators

struct Message {
  const void* in;
  void* out;
  size_t bytes;
  int peer;
  void* stream;
};
// Of the group that this thread has begun.
thread_local int depth = 0;
thread_local std::vector<Message> sent, received;
thread_local Comm* grouped = nullptr;

int fault(std::string what) {
  state.faults.push_back(std::move(what));
  return kInvalidUsage;
}

const char* type_name(int type) {
  static const std::map<int, const char*> names = {
      {kUint8, "uint8"},     {kInt32, "int32"},     {kInt64, "int64"},      {kFloat16, "float16"},
      {kFloat32, "float32"}, {kFloat64, "float64"}, {kBFloat16, "bfloat16"}};
  const auto found = names.find(type);
  return found == names.end() ? "unknown" : found->second;
}

size_t bytes_of(size_t count, int type) {
  switch (type) {
    case kUint8: return count;
    case kFloat16:
    case kBFloat16: return 2 * count;
    case kInt32:
    case kFloat32: return 4 * count;
    default: return 8 * count;
  }
}

const char* operation_name(int op) {
  return op == kSum ? "sum" : op == kMax ? "max" : "min";
}

int get_version(int* version) {
  *version = state.version;
  return kSuccess;
}
const char* error_string(int result) {
  switch (result) {
    case kSuccess: return "no error";
    case kRemoteError: return "remote process exited or there was a network error";
    default: return "invalid usage";
  }
}
const char* last_error(void*) {
  return "from the emulator";
}

int unique_id(UniqueId* id) {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclGetUniqueId");
  id->bytes.fill('u');
  return kSuccess;
}

int comm_init(void** comm, int ranks, UniqueId id, int rank, Config* config) {
  const std::lock_guard lock(mutex);
  state.calls.push_back(detail::concat("ncclCommInitRankConfig ", rank, " of ", ranks));
  if (id.bytes[0] != 'u') return fault("an identifier that nobody made");
  if (config->magic != 0xcafebeef || config->blocking != 0) return fault("another configuration");
  *comm = new Comm{ranks, rank, state.polls};
  alive.insert(*comm);
  error = state.init_error;
  return kInProgress;
}

// What NCCL does with a communicator's registrations.
void forget_registrations(const void* comm);
// Notes where a collective reads and writes.
void note_places(const char* name, const void* in, const void* out);

// ---- calls of a communicator ----

int begin(void* object, std::string call) {
  state.calls.push_back(std::move(call));
  auto* const comm = static_cast<Comm*>(object);
  if (comm->polls > 0) return fault("a call while another is in progress");
  if (depth == 0) comm->polls = state.polls;
  return kSuccess;
}
int in_progress(const void* comm) {
  return static_cast<const Comm*>(comm)->polls > 0 ? kInProgress : kSuccess;
}

int comm_split(void* object, int color, int key, void** part, Config* config) {
  const std::lock_guard lock(mutex);
  if (const int result = begin(object, detail::concat("ncclCommSplit ", color, " ", key)))
    return result;
  if (config->blocking != 0) return fault("another configuration");
  auto* const comm = static_cast<Comm*>(object);
  *part = color == kNoColor ? nullptr : new Comm{comm->ranks, comm->rank, state.polls};
  if (*part) alive.insert(*part);
  return in_progress(comm);
}
int comm_count(const void* comm, int* count) {
  *count = static_cast<const Comm*>(comm)->ranks;
  return kSuccess;
}
int comm_rank(const void* comm, int* rank) {
  *rank = static_cast<const Comm*>(comm)->rank;
  return kSuccess;
}
int comm_error(void* object, int* result) {
  const std::lock_guard lock(mutex);
  auto* const comm = static_cast<Comm*>(object);
  if (comm->polls > 0) --comm->polls;
  *result = comm->polls > 0 ? kInProgress : error;
  return kSuccess;
}
int comm_finalize(void* comm) {
  const std::lock_guard lock(mutex);
  if (const int result = begin(comm, "ncclCommFinalize")) return result;
  return in_progress(comm);
}
int comm_destroy(void* comm) {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclCommDestroy");
  alive.erase(comm);
  forget_registrations(comm);
  delete static_cast<Comm*>(comm);
  return kSuccess;
}
int comm_abort(void* comm) {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclCommAbort");
  alive.erase(comm);
  forget_registrations(comm);
  delete static_cast<Comm*>(comm);
  return kSuccess;
}

// ---- collectives ----

template <class T>
void sum_equal(const void* in, void* out, size_t count, int ranks) {
  for (size_t i = 0; i < count; ++i)
    static_cast<T*>(out)[i] = static_cast<const T*>(in)[i] * static_cast<T>(ranks);
}

// The result of ranks whose elements are the same.
void reduce_equal(const void* in, void* out, size_t count, int type, int op, int ranks) {
  if (op != kSum) {
    std::memmove(out, in, bytes_of(count, type));
    return;
  }
  switch (type) {
    case kFloat32: return sum_equal<float>(in, out, count, ranks);
    case kFloat64: return sum_equal<double>(in, out, count, ranks);
    case kInt32: return sum_equal<int32_t>(in, out, count, ranks);
    default: return sum_equal<int64_t>(in, out, count, ranks);
  }
}

// What a kernel does whose peers are gone.
void wait_for_abort(const void* comm) {
  for (bool waits = true; waits; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
    const std::lock_guard lock(mutex);
    error = kRemoteError;
    waits = alive.contains(comm);
  }
}

int reduce(const char* name, const void* in, void* out, size_t count, int type, int op,
           void* object, void* stream, bool scatters) {
  const std::lock_guard lock(mutex);
  const auto call = detail::concat(name, " ", type_name(type), " ", operation_name(op), " ", count);
  if (const int result = begin(object, call)) return result;
  note_places(name, in, out);
  const Comm comm = *static_cast<Comm*>(object);
  if (!scatters && state.all_reduces_left == 0) {
    emulate::submit(stream, [object] { wait_for_abort(object); });
    return in_progress(object);
  }
  if (!scatters && state.all_reduces_left > 0) --state.all_reduces_left;
  const size_t before = scatters ? comm.rank * bytes_of(count, type) : 0;
  emulate::submit(stream, [=] {
    reduce_equal(static_cast<const std::byte*>(in) + before, out, count, type, op, comm.ranks);
  });
  return in_progress(object);
}
int all_reduce(const void* in, void* out, size_t count, int type, int op, void* comm,
               void* stream) {
  return reduce("ncclAllReduce", in, out, count, type, op, comm, stream, false);
}
int reduce_scatter(const void* in, void* out, size_t count, int type, int op, void* comm,
                   void* stream) {
  return reduce("ncclReduceScatter", in, out, count, type, op, comm, stream, true);
}

int all_gather(const void* in, void* out, size_t count, int type, void* object, void* stream) {
  const std::lock_guard lock(mutex);
  const auto call = detail::concat("ncclAllGather ", type_name(type), " ", count);
  if (const int result = begin(object, call)) return result;
  note_places("ncclAllGather", in, out);
  const size_t bytes = bytes_of(count, type);
  emulate::submit(stream, [=, ranks = static_cast<Comm*>(object)->ranks] {
    for (int r = 0; r < ranks; ++r)
      std::memmove(static_cast<std::byte*>(out) + r * bytes, in, bytes);
  });
  return in_progress(object);
}

int broadcast(const void* in, void* out, size_t count, int type, int root, void* object,
              void* stream) {
  const std::lock_guard lock(mutex);
  const auto call = detail::concat("ncclBroadcast ", type_name(type), " ", count, " from ", root);
  if (const int result = begin(object, call)) return result;
  emulate::submit(stream, [=] { std::memmove(out, in, bytes_of(count, type)); });
  return in_progress(object);
}

// ---- memory ----

// Of mem_alloc(), by address, with what is registered.
struct Block {
  size_t bytes;
  const void* comm = nullptr;
  int window = -1;  // none
};
std::map<const void*, Block> blocks;

std::string place_of(const void* address) {
  auto found = blocks.upper_bound(address);
  if (found == blocks.begin()) return "none";
  const auto& [first, block] = *--found;
  const size_t offset = static_cast<const char*>(address) - static_cast<const char*>(first);
  const bool is_inside = block.window >= 0 && offset < block.bytes;
  return is_inside ? detail::concat(block.window, "+", offset) : "none";
}
void note_places(const char* name, const void* in, const void* out) {
  state.places.push_back(detail::concat(name, " ", place_of(in), " to ", place_of(out)));
}

int mem_alloc(void** memory, size_t bytes) {
  const std::lock_guard lock(mutex);
  state.calls.push_back(detail::concat("ncclMemAlloc ", bytes));
  *memory = cuda::device_allocate({DeviceType::CUDA, 0}, bytes);
  if (!*memory) return kUnhandledCudaError;
  blocks[*memory] = {bytes};
  return kSuccess;
}
int mem_free(void* memory) {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclMemFree");
  const auto found = blocks.find(memory);
  if (found == blocks.end()) return fault("memory that mem_alloc did not give");
  if (found->second.comm) return fault("registered memory freed before its communicator");
  blocks.erase(found);
  cuda::device_free({DeviceType::CUDA, 0}, memory);
  return kSuccess;
}
void forget_registrations(const void* comm) {
  for (auto& [memory, block] : blocks)
    if (block.comm == comm) block.comm = nullptr, block.window = -1;
}

int add_registration(const char* name, const void* object, const void* memory, size_t bytes,
                     void** handle, bool symmetric) {
  const std::lock_guard lock(mutex);
  auto* const comm = const_cast<void*>(object);
  if (const int result = begin(comm, detail::concat(name, " ", bytes))) return result;
  const auto found = blocks.find(memory);
  if (found == blocks.end() || found->second.bytes != bytes)
    return fault("memory registered that mem_alloc did not give");
  found->second.comm = comm;
  if (symmetric) found->second.window = state.windows++;
  *handle = &found->second;
  return in_progress(comm);
}
int comm_register(const void* comm, void* memory, size_t bytes, void** handle) {
  return add_registration("ncclCommRegister", comm, memory, bytes, handle, false);
}
int window_register(void* comm, void* memory, size_t bytes, void** window, int flags) {
  const bool symmetric = flags == kSymmetricWindow;
  const int result =
      add_registration(symmetric ? "ncclCommWindowRegister symmetric" : "ncclCommWindowRegister",
                       comm, memory, bytes, window, symmetric);
  return result == kInProgress ? kSuccess : result;  // as NCCL 2.28 has it
}

// ---- messages ----

int group_start() {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclGroupStart");
  ++depth;
  return kSuccess;
}

// What comes from a rank is what went to it.
int group_end() {
  const std::lock_guard lock(mutex);
  state.calls.emplace_back("ncclGroupEnd");
  if (--depth < 0) return fault("the end of no group");
  for (const Message& to : received)
    for (const Message& from : sent)
      if (from.peer == to.peer) {
        if (from.bytes != to.bytes) return fault("messages of two sizes");
        emulate::submit(to.stream, [=] { std::memcpy(to.out, from.in, to.bytes); });
      }
  sent.clear();
  received.clear();
  Comm* const comm = std::exchange(grouped, nullptr);
  if (!comm) return kSuccess;
  comm->polls = state.polls;
  return in_progress(comm);
}

int message(const char* name, const Message& message, int type, size_t count, void* object,
            std::vector<Message>& of_group) {
  const std::lock_guard lock(mutex);
  const auto call = detail::concat(name, " ", type_name(type), " ", count, " ", message.peer);
  if (const int result = begin(object, call)) return result;
  auto* const comm = static_cast<Comm*>(object);
  if (message.peer < 0 || message.peer >= comm->ranks) return fault("a rank that is none");
  if (depth == 0) return in_progress(object);
  of_group.push_back(message);
  grouped = comm;
  return kSuccess;
}
int send(const void* in, size_t count, int type, int to, void* comm, void* stream) {
  const Message one{in, nullptr, bytes_of(count, type), to, stream};
  return message("ncclSend", one, type, count, comm, sent);
}
int recv(void* out, size_t count, int type, int from, void* comm, void* stream) {
  const Message one{nullptr, out, bytes_of(count, type), from, stream};
  return message("ncclRecv", one, type, count, comm, received);
}

}  // namespace

EmulatedState emulated_state() {
  const std::lock_guard lock(mutex);
  return state;
}
void set_emulated_state(const EmulatedState& start) {
  const std::lock_guard lock(mutex);
  state = start;
  error = kSuccess;
}
void set_emulated_error(int to) {
  const std::lock_guard lock(mutex);
  error = to;
}

const Library& library() {
  static Library table{.error = "",
                       .version = get_version,
                       .error_string = error_string,
                       .last_error = last_error,
                       .unique_id = unique_id,
                       .comm_init = comm_init,
                       .comm_split = comm_split,
                       .comm_count = comm_count,
                       .comm_rank = comm_rank,
                       .comm_error = comm_error,
                       .comm_finalize = comm_finalize,
                       .comm_destroy = comm_destroy,
                       .comm_abort = comm_abort,
                       .group_start = group_start,
                       .group_end = group_end,
                       .all_reduce = all_reduce,
                       .reduce_scatter = reduce_scatter,
                       .all_gather = all_gather,
                       .broadcast = broadcast,
                       .send = send,
                       .recv = recv};
  const std::lock_guard lock(mutex);
  table.error = state.missing ? "libnccl.so.2: no such file" : "";
  const bool has_memory = state.version >= 21903;
  table.mem_alloc = has_memory ? mem_alloc : nullptr;
  table.mem_free = has_memory ? mem_free : nullptr;
  table.comm_register = has_memory ? comm_register : nullptr;
  table.window_register = state.version >= 22700 ? window_register : nullptr;
  return table;
}

}  // namespace plinth::distributed::nccl
