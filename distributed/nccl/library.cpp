#include "distributed/nccl/library.h"

// The header need not be there: it is compared with, and the library is looked for at first use.
#if __has_include(<nccl.h>)
#include <nccl.h>
#endif

#include "kernels/library/shared_library.h"

namespace plinth::distributed::nccl {
namespace {

#ifdef NCCL_MAJOR
// What library.h declares for itself is what the library's header says.
static_assert(kSuccess == ncclSuccess && kInvalidUsage == ncclInvalidUsage);
static_assert(kUnhandledCudaError == ncclUnhandledCudaError);
static_assert(kRemoteError == ncclRemoteError && kInProgress == ncclInProgress);
static_assert(int{kUint8} == ncclUint8 && int{kInt32} == ncclInt32 && int{kInt64} == ncclInt64);
static_assert(int{kFloat16} == ncclFloat16 && int{kFloat32} == ncclFloat32);
static_assert(int{kFloat64} == ncclFloat64 && int{kBFloat16} == ncclBfloat16);
static_assert(int{kSum} == ncclSum && int{kMax} == ncclMax && int{kMin} == ncclMin);
static_assert(kNoColor == NCCL_SPLIT_NOCOLOR);
#ifdef NCCL_WIN_COLL_SYMMETRIC
static_assert(kSymmetricWindow == NCCL_WIN_COLL_SYMMETRIC);
#endif
static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));
static_assert(offsetof(Config, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(Config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(Config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(Config, blocking) == offsetof(ncclConfig_t, blocking));
#endif

Library load() {
  kernels::cuda::SharedLibrary file({"libnccl.so.2"}, "PLINTH_NCCL");
  Library found;
  file.find("ncclGetVersion", found.version);
  file.find("ncclGetErrorString", found.error_string);
  file.find("ncclGetLastError", found.last_error);
  file.find("ncclGetUniqueId", found.unique_id);
  file.find("ncclCommInitRankConfig", found.comm_init);
  file.find("ncclCommSplit", found.comm_split);
  file.find("ncclCommCount", found.comm_count);
  file.find("ncclCommUserRank", found.comm_rank);
  file.find("ncclCommGetAsyncError", found.comm_error);
  file.find("ncclCommFinalize", found.comm_finalize);
  file.find("ncclCommDestroy", found.comm_destroy);
  file.find("ncclCommAbort", found.comm_abort);
  file.find("ncclGroupStart", found.group_start);
  file.find("ncclGroupEnd", found.group_end);
  file.find("ncclAllReduce", found.all_reduce);
  file.find("ncclReduceScatter", found.reduce_scatter);
  file.find("ncclAllGather", found.all_gather);
  file.find("ncclBroadcast", found.broadcast);
  file.find("ncclSend", found.send);
  file.find("ncclRecv", found.recv);
  found.error = file.error();
  file.find_newer("ncclMemAlloc", found.mem_alloc);
  file.find_newer("ncclMemFree", found.mem_free);
  file.find_newer("ncclCommRegister", found.comm_register);
  file.find_newer("ncclCommWindowRegister", found.window_register);
  return found;
}

}  // namespace

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

}  // namespace plinth::distributed::nccl
