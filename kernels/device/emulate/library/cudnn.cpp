// The emulator's cuDNN: refuses what NVIDIA's documentation forbids, and convolves on the host in
// the stream's order. A descriptor refers to those that were set of it, and these must live on.

#include "kernels/device/emulate/library/cudnn.h"

#include <algorithm>
#include <memory>
#include <set>

#include "kernels/device/emulate/library/cudnn_descriptor.h"
#include "kernels/device/emulate/library/memory.h"
#include "kernels/device/emulate/stream.h"

namespace plinth::emulate {
namespace {

constexpr int64_t kWorkspace = 512;  // of every plan

struct Handle {
  void* stream = nullptr;
};

// Why the thread's last call was refused.
std::string& dnn_refusal() {
  thread_local std::string why;
  return why;
}
int dnn_refused(std::string why, int status = kDnnBadParameter) {
  dnn_refusal() = std::move(why);
  return status;
}
void last_error(char* message, size_t size) {
  const size_t length = std::min(dnn_refusal().size(), size - 1);
  std::memcpy(message, dnn_refusal().data(), length);
  message[length] = '\0';
}

std::set<const void*>& live() {
  static auto* all = new std::set<const void*>;
  return *all;
}

int create_handle(void** handle) {
  *handle = new Handle;
  return dnn::kSuccess;
}
int set_stream(void* handle, void* stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return dnn::kSuccess;
}

int create_descriptor(int type, void** descriptor) {
  auto* made = new DnnDescriptor{.type = type};
  live().insert(made);
  ++cudnn().live_descriptors;
  *descriptor = made;
  return dnn::kSuccess;
}
int destroy_descriptor(void* descriptor) {
  if (live().erase(descriptor) == 0) return dnn_refused("no such descriptor");
  --cudnn().live_descriptors;
  delete static_cast<DnnDescriptor*>(descriptor);
  return dnn::kSuccess;
}

int set_attribute(void* object, int attribute, int type, int64_t count, const void* elements) {
  if (!is_live(object)) return dnn_refused("no such descriptor");
  auto& descriptor = *static_cast<DnnDescriptor*>(object);
  if (descriptor.finalized) return dnn_refused("the descriptor is finalized");
  const std::vector<DnnRule>& rules = rules_of(descriptor.type);
  const auto rule = std::ranges::find(rules, attribute, &DnnRule::attribute);
  if (rule == rules.end()) return dnn_refused("the descriptor has no such attribute to set");
  if (type != rule->type) return dnn_refused("an attribute of another type");
  if (count < rule->least || count > rule->most)
    return dnn_refused("too few elements, or too many");
  if (elements == nullptr) return dnn_refused("no elements");
  if (type == dnn::kTypeDescriptor) {
    const void* part = *static_cast<void* const*>(elements);
    if (!is_live(part)) return dnn_refused("no such descriptor to set");
    if (!static_cast<const DnnDescriptor*>(part)->finalized)
      return dnn_refused("a descriptor to set that is not finalized", kDnnNotFinalized);
  }
  DnnValues& values = descriptor.attributes[attribute];
  values.type = type;
  values.count = count;
  const auto* bytes = static_cast<const std::byte*>(elements);
  values.bytes.assign(bytes, bytes + static_cast<size_t>(count) * bytes_of_type(type));
  return dnn::kSuccess;
}

// ---- engines ----

std::vector<int> proposed(const DnnDescriptor& heuristic) {
  if (cudnn().only_nondeterministic) return {kEngineNondeterministic};
  if (heuristic.one<int>(dnn::kHeuristicModeOf) == dnn::kHeuristicFallback) return {kEnginePlain};
  return {kEngineNondeterministic, kEngineTensorCore, kEngineUnfit};
}

std::vector<int> notes_of(const DnnDescriptor& engine) {
  const auto data_type =
      convolution_of(engine.descriptor(dnn::kHeuristicGraph).descriptor(dnn::kGraphOperations))
          .x->one<int>(dnn::kTensorDataType);
  switch (engine.engine) {
    case kEngineNondeterministic: return {dnn::kNoteNondeterministic};
    case kEngineTensorCore:
      if (data_type == dnn::kFloat32) return {dnn::kNoteTensorCore, dnn::kNoteDownConvertInputs};
      return {dnn::kNoteTensorCore};
    default: return {};
  }
}

// ---- reading ----

// Writes as many of `values` as were requested.
template <class T>
int give(const std::vector<T>& values, int64_t requested, int64_t* count, void* elements) {
  *count = static_cast<int64_t>(values.size());
  const int64_t written = std::min<int64_t>(requested, *count);
  if (written > 0) std::memcpy(elements, values.data(), static_cast<size_t>(written) * sizeof(T));
  return dnn::kSuccess;
}

// Makes the descriptors at `elements` those of engines of the graph.
int give_descriptors(const DnnDescriptor& from, const std::vector<int>& engines, int type,
                     int64_t requested, int64_t* count, void* elements) {
  *count = static_cast<int64_t>(engines.size());
  for (int64_t i = 0; i < std::min(requested, *count); ++i) {
    void* object = static_cast<void**>(elements)[i];
    if (!is_live(object)) return dnn_refused("no descriptor to fill");
    auto& to = *static_cast<DnnDescriptor*>(object);
    if (to.type != type || to.finalized) return dnn_refused("a descriptor that cannot be filled");
    to.finalized = true;
    to.engine = engines[static_cast<size_t>(i)];
    to.attributes[dnn::kHeuristicGraph] = from.attributes.at(dnn::kHeuristicGraph);
  }
  return dnn::kSuccess;
}

int get_attribute(void* object, int attribute, int type, int64_t requested, int64_t* count,
                  void* elements) {
  if (!is_live(object)) return dnn_refused("no such descriptor");
  const auto& d = *static_cast<const DnnDescriptor*>(object);
  if (!d.finalized) return dnn_refused("the descriptor is not finalized", kDnnNotFinalized);
  const auto asks = [&](int descriptor, int wanted, int wanted_type) {
    return d.type == descriptor && attribute == wanted && type == wanted_type;
  };
  if (asks(dnn::kEngineHeuristic, dnn::kHeuristicResults, dnn::kTypeDescriptor))
    return give_descriptors(d, proposed(d), dnn::kEngineConfig, requested, count, elements);
  if (asks(dnn::kEngineConfig, dnn::kEngineConfigEngine, dnn::kTypeDescriptor))
    return give_descriptors(d, {d.engine}, dnn::kEngine, requested, count, elements);
  if (asks(dnn::kEngine, dnn::kEngineNumericalNotes, dnn::kTypeNumericalNote))
    return give(notes_of(d), requested, count, elements);
  if (asks(dnn::kExecutionPlan, dnn::kPlanWorkspaceSize, dnn::kTypeInt64))
    return give(std::vector<int64_t>{kWorkspace}, requested, count, elements);
  return dnn_refused("the descriptor has no such attribute to get");
}

// ---- plans ----

int finalize(void* object) {
  if (!is_live(object)) return dnn_refused("no such descriptor");
  auto& descriptor = *static_cast<DnnDescriptor*>(object);
  if (descriptor.finalized) return dnn_refused("the descriptor is finalized already");
  if (std::string why = why_unfinished(descriptor); !why.empty())
    return dnn_refused(std::move(why));
  if (descriptor.type == dnn::kExecutionPlan) {
    descriptor.engine = descriptor.descriptor(dnn::kPlanEngineConfig).engine;
    if (descriptor.engine == kEngineUnfit)
      return dnn_refused("the engine does not take this problem", kDnnNotSupported);
  }
  if (descriptor.type == dnn::kOperationGraph) ++cudnn().graphs;
  descriptor.finalized = true;
  return dnn::kSuccess;
}

// The pack's pointer for a tensor, aligned as the tensor says; null, and a refusal, without.
const void* pointer_for(const DnnDescriptor& tensor, const DnnDescriptor& pack) {
  const auto ids = pack.all<int64_t>(dnn::kPackUniqueIds);
  const auto pointers = pack.all<void*>(dnn::kPackPointers);
  const auto found = std::ranges::find(ids, tensor.one<int64_t>(dnn::kTensorUniqueId));
  if (found == ids.end()) {
    dnn_refused("the variant pack lacks a tensor of the plan");
    return nullptr;
  }
  const void* pointer = pointers[static_cast<size_t>(found - ids.begin())];
  const auto alignment = static_cast<uintptr_t>(tensor.one<int64_t>(dnn::kTensorAlignment));
  if (reinterpret_cast<uintptr_t>(pointer) % alignment == 0) return pointer;
  dnn_refused("a pointer is not aligned as its tensor says");
  return nullptr;
}

int execute(void* handle, void* plan_object, void* pack_object) {
  if (!is_live(plan_object) || !is_live(pack_object)) return dnn_refused("no such descriptor");
  const auto& plan = *static_cast<const DnnDescriptor*>(plan_object);
  const auto& pack = *static_cast<const DnnDescriptor*>(pack_object);
  if (plan.type != dnn::kExecutionPlan || pack.type != dnn::kVariantPack)
    return dnn_refused("a descriptor of another type");
  if (!plan.finalized || !pack.finalized)
    return dnn_refused("a descriptor is not finalized", kDnnNotFinalized);
  if (!is_whole(plan)) return dnn_refused("a descriptor that is part of the plan was destroyed");
  if (plan.one<void*>(dnn::kPlanHandle) != handle)
    return dnn_refused("the plan is another handle's");
  void* workspace = pack.one<void*>(dnn::kPackWorkspace);
  if (workspace == nullptr) return dnn_refused("the plan needs a workspace");
  const DnnConvolution convolution = convolution_of(operation_of_plan(plan));
  const DnnOperands operands{pointer_for(*convolution.x, pack),
                             pointer_for(*convolution.weight, pack),
                             pointer_for(*convolution.y, pack)};
  if (!operands.x || !operands.weight || !operands.y) return kDnnBadParameter;
  ++cudnn().executions;
  cudnn().last_engine = plan.engine;
  submit(static_cast<Handle*>(handle)->stream, [=, engine = plan.engine] {
    check_library_access(workspace, kWorkspace, true, "the workspace");
    std::memset(workspace, 0xff, kWorkspace);
    compute(convolution, operands, engine);
  });
  return dnn::kSuccess;
}

int current_device() {
  return 0;
}

dnn::Library dnn_functions(std::string error) {
  return {.error = std::move(error),
          .create = create_handle,
          .set_stream = set_stream,
          .create_descriptor = create_descriptor,
          .destroy_descriptor = destroy_descriptor,
          .set_attribute = set_attribute,
          .get_attribute = get_attribute,
          .finalize = finalize,
          .execute = execute,
          .last_error = last_error,
          .current_device = current_device};
}

}  // namespace

bool is_live(const void* descriptor) {
  return live().count(descriptor) > 0;
}

bool is_whole(const DnnDescriptor& descriptor) {
  return std::ranges::all_of(descriptor.attributes, [](const auto& attribute) {
    if (attribute.second.type != dnn::kTypeDescriptor) return true;
    const void* part = nullptr;
    std::memcpy(&part, attribute.second.bytes.data(), sizeof part);
    return is_live(part) && is_whole(*static_cast<const DnnDescriptor*>(part));
  });
}

const DnnDescriptor& operation_of_plan(const DnnDescriptor& plan) {
  return plan.descriptor(dnn::kPlanEngineConfig)
      .descriptor(dnn::kHeuristicGraph)
      .descriptor(dnn::kGraphOperations);
}

CudnnState& cudnn() {
  static CudnnState state;
  return state;
}

}  // namespace plinth::emulate

namespace plinth::kernels::cuda::dnn {

const Library& library() {
  static const Library present = emulate::dnn_functions("");
  static const Library missing = emulate::dnn_functions("libcudnn.so.9: not found");
  return emulate::cudnn().missing ? missing : present;
}

}  // namespace plinth::kernels::cuda::dnn
