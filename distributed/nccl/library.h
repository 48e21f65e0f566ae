#pragma once

// NVIDIA's NCCL, as far as Plinth calls it. Source: nccl.h of NCCL 2.28, whose documentation of a
// name holds here. `libnccl.so.2` is looked for at the first use, or the file that the environment
// variable PLINTH_NCCL names.

#include <array>
#include <climits>
#include <cstddef>
#include <string>

namespace plinth::distributed::nccl {

// ncclResult_t
inline constexpr int kSuccess = 0;
inline constexpr int kUnhandledCudaError = 1;
inline constexpr int kInvalidUsage = 5;
inline constexpr int kRemoteError = 6;
inline constexpr int kInProgress = 7;

// ncclDataType_t
enum DataType : int {
  kUint8 = 1,
  kInt32 = 2,
  kInt64 = 4,
  kFloat16 = 6,
  kFloat32 = 7,
  kFloat64 = 8,
  kBFloat16 = 9
};

// ncclRedOp_t
enum Operation : int { kSum = 0, kMax = 2, kMin = 3 };

inline constexpr int kNoColor = -1;
// NCCL_WIN_COLL_SYMMETRIC: all ranks' calls give the same offset into the window.
inline constexpr int kSymmetricWindow = 1;

struct UniqueId {
  std::array<char, 128> bytes{};
};

// ncclConfig_t of NCCL 2.14, which later versions know by its size and version: they take what
// follows in theirs as undefined.
struct Config {
  size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
  int undefined = INT_MIN;  // what later versions have in this place
};

// Communicators are pointers to the library's own structures.
struct Library {
  std::string error;  // why it cannot be used; empty if it can

  int (*version)(int* version);
  const char* (*error_string)(int result);
  const char* (*last_error)(void* comm);
  int (*unique_id)(UniqueId* id);
  int (*comm_init)(void** comm, int ranks, UniqueId id, int rank, Config* config);
  int (*comm_split)(void* comm, int color, int key, void** part, Config* config);
  int (*comm_count)(const void* comm, int* count);
  int (*comm_rank)(const void* comm, int* rank);
  int (*comm_error)(void* comm, int* error);
  int (*comm_finalize)(void* comm);
  int (*comm_destroy)(void* comm);
  int (*comm_abort)(void* comm);
  int (*group_start)();
  int (*group_end)();
  int (*all_reduce)(const void* in, void* out, size_t count, int type, int op, void* comm,
                    void* stream);
  int (*reduce_scatter)(const void* in, void* out, size_t count, int type, int op, void* comm,
                        void* stream);
  int (*all_gather)(const void* in, void* out, size_t count, int type, void* comm, void* stream);
  int (*broadcast)(const void* in, void* out, size_t count, int type, int root, void* comm,
                   void* stream);
  int (*send)(const void* in, size_t count, int type, int to, void* comm, void* stream);
  int (*recv)(void* out, size_t count, int type, int from, void* comm, void* stream);

  // Null where the version lacks them: before 2.19, 2.19 and 2.27.
  int (*mem_alloc)(void** memory, size_t bytes) = nullptr;
  int (*mem_free)(void* memory) = nullptr;
  int (*comm_register)(const void* comm, void* memory, size_t bytes, void** handle) = nullptr;
  int (*window_register)(void* comm, void* memory, size_t bytes, void** window,
                         int flags) = nullptr;
};

// Loads the library when it is first called.
const Library& library();

}  // namespace plinth::distributed::nccl
