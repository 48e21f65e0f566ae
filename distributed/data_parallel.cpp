#include "distributed/data_parallel.h"

#include <algorithm>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "nn/clip.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kSliceUnit = 16;  // elements, so that slices begin at whole vectors

// The part that the sum is left in: its buffers are those that all ranks made together, at the same
// place of the group's memory, which collectives that write into each other's memory rely on.
constexpr size_t kResult = 0;

std::vector<nn::TreeNode> nodes_of(const std::vector<nn::GradientTree::Part>& parts) {
  std::vector<nn::TreeNode> nodes;
  nodes.reserve(parts.size());
  for (const auto& part : parts) nodes.push_back(part.node);
  return nodes;
}

}  // namespace

Share share_of(const ProcessGroup& group, int64_t micro_batches) {
  check(micro_batches > 0 && micro_batches % group.size() == 0, ErrorKind::Argument,
        "data parallel", "got ", micro_batches, " micro-batches a step, takes a multiple of the ",
        group.size(), " ranks of group ", group.name());
  const int64_t count = micro_batches / group.size();
  return {group.rank() * count, count};
}

// What begin() found.
struct DataParallel::Step {
  nn::GradientTree& tree;
  std::vector<nn::GradientTree::Part> parts;  // this rank's
  nn::TreeAdditions local = {};               // that this rank does alone
  std::vector<int> nodes = {};                // that remain, of each rank
  nn::TreeAdditions additions = {};           // of all ranks' remaining nodes
  size_t next = 0;                            // bucket to send
  Work last = {};
};

int64_t DataParallel::multiple(const ProcessGroup& group, Device device, bool sharded) {
  return (sharded ? nn::norm_chunk(device) : kSliceUnit) * group.size();
}

nn::BufferMaker DataParallel::memory(std::shared_ptr<ProcessGroup> group) {
  return [group = std::move(group)](int64_t elements, TensorOptions options) {
    return group->make_buffer(elements, options);
  };
}

DataParallel::DataParallel(std::shared_ptr<ProcessGroup> group, nn::FlatGradients& gradients,
                           DataParallelOptions options)
    : group_(std::move(group)),
      gradients_(gradients),
      options_(options),
      self_(std::make_shared<DataParallel*>(this)) {
  check(options_.bucket_bytes > 0, ErrorKind::Argument, "DataParallel", "bucket_bytes got ",
        options_.bucket_bytes, ", takes more than 0");
  check(!options_.sharded || options_.reduction == Reduction::Tree, ErrorKind::Argument,
        "DataParallel", "sharded goes with the reduction Tree");
  make_buckets();
  watch_parameters();
}

DataParallel::~DataParallel() {
  *self_ = nullptr;
}

// From the end of each buffer to its start. A bucket need not end where a parameter does.
void DataParallel::make_buckets() {
  const Tensors& buffers = gradients_.buffers();
  for (size_t b = buffers.size(); b-- > 0;) {
    const int64_t unit = multiple(*group_, buffers[b].device(), options_.sharded);
    const int64_t size = buffers[b].numel();
    check(size % unit == 0, ErrorKind::Argument, "DataParallel", "a buffer of gradients has ", size,
          " elements, takes a multiple of ", unit, "; make it with DataParallel::multiple()");
    const auto element = static_cast<int64_t>(size_of(buffers[b].dtype()));
    const int64_t length = std::max(unit, options_.bucket_bytes / element / unit * unit);
    for (int64_t begin = (size - 1) / length * length; size > 0 && begin >= 0; begin -= length)
      buckets_.push_back({{b, begin, std::min(length, size - begin)}, 0, 0});
  }
  buckets_of_.resize(gradients_.parameters().size());
  for (size_t p = 0; p < buckets_of_.size(); ++p) {
    const auto& place = gradients_.layout().places()[p];
    for (size_t k = 0; k < buckets_.size(); ++k) {
      Bucket& bucket = buckets_[k];
      if (bucket.buffer == place.buffer && place.offset < bucket.begin + bucket.size &&
          bucket.begin < place.offset + place.shape.numel()) {
        ++bucket.parameters;
        buckets_of_[p].push_back(k);
      }
    }
  }
}

// The hooks stay with the parameters; they do nothing once this is gone.
void DataParallel::watch_parameters() {
  for (size_t p = 0; p < buckets_of_.size(); ++p) {
    gradients_.parameters()[p].register_post_accumulate_grad_hook([self = self_, p](Tensor&) {
      if (*self) (*self)->gradient_is_final(p);
    });
  }
}

void DataParallel::begin(nn::GradientTree& tree, int64_t total) {
  check(!step_, ErrorKind::Argument, "DataParallel", "begin() was called twice without finish()");
  const Share share = share_of(*group_, total);
  step_ = std::make_unique<Step>(Step{.tree = tree, .parts = tree.parts()});
  const std::vector<nn::TreeNode> nodes = nodes_of(step_->parts);
  check(nodes.front().begin == share.first && nodes.back().end == share.first + share.count,
        ErrorKind::Argument, "DataParallel", "the tree has micro-batches ", nodes.front().begin,
        " to ", nodes.back().end, ", expected ", share.first, " to ", share.first + share.count);
  step_->local = nn::tree_additions(nodes, total);
  std::vector<nn::TreeNode> all;
  for (int rank = 0; rank < group_->size(); ++rank) {
    const auto theirs = nn::tree_nodes(rank * share.count, (rank + 1) * share.count, total);
    step_->nodes.push_back(static_cast<int>(theirs.size()));
    all.insert(all.end(), theirs.begin(), theirs.end());
  }
  step_->additions = nn::tree_additions(all, total);
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
}

void DataParallel::gradient_is_final(size_t parameter) {
  if (!step_) return;
  for (const size_t k : buckets_of_[parameter]) --buckets_[k].missing;
  if (options_.overlap) send_complete(false);
}

// Always in the same order, since all ranks have to agree on it.
void DataParallel::send_complete(bool all) {
  for (size_t& k = step_->next; k < buckets_.size() && (all || buckets_[k].missing <= 0); ++k)
    send(buckets_[k]);
}

void DataParallel::send(const Bucket& bucket) {
  const OpScope scope("send_gradients", ScopeKind::Phase);
  const NoGradGuard no_grad;
  if (options_.reduction == Reduction::Tree) {
    send_by_tree(bucket);
  } else {
    send_by_library(bucket);
  }
}

Tensor DataParallel::part_of(size_t part, const Range& range) const {
  return step_->parts[part].buffers[range.buffer].narrow(0, range.begin, range.size);
}

std::vector<DataParallel::Range> DataParallel::buckets() const {
  return {buckets_.begin(), buckets_.end()};
}

DataParallel::Range DataParallel::own_slice(const Range& bucket) const {
  const int64_t slice = bucket.size / group_->size();
  return {bucket.buffer, bucket.begin + group_->rank() * slice, slice};
}

namespace {

// Adds rows of one matrix, or tensors, as a tree says. Called by the group.
std::function<void()> adding(Tensors terms, std::vector<std::pair<size_t, size_t>> pairs) {
  return [terms = std::move(terms), pairs = std::move(pairs)] {
    const NoGradGuard no_grad;
    for (const auto& [to, from] : pairs) Tensor(terms[to]).add_(terms[from]);
  };
}

}  // namespace

void DataParallel::send_by_tree(const Bucket& bucket) {
  Tensors own;
  own.reserve(step_->parts.size());
  for (size_t i = 0; i < step_->parts.size(); ++i) own.push_back(part_of(i, bucket));
  if (!step_->local.pairs.empty()) group_->in_order(adding(own, step_->local.pairs));

  // Node j of every rank that has one, in one all_to_all; `received` has them by rank, then number.
  const int64_t slice = bucket.size / group_->size();
  const int64_t nodes = std::reduce(step_->nodes.begin(), step_->nodes.end());
  received_.resize(gradients_.buffers().size());
  Tensor& memory = received_[bucket.buffer];
  if (!memory.defined() || memory.numel() < nodes * slice)
    memory = group_->make_buffer(nodes * slice, own[0].options());
  std::vector<Tensors> by_rank(group_->size());
  int64_t at = 0;
  for (int j = 0; j < std::ranges::max(step_->nodes); ++j) {
    const bool sends = j < step_->nodes[group_->rank()];
    const Tensor sent = sends ? own[step_->local.remaining[j]] : own[0].narrow(0, 0, 0);
    std::vector<int64_t> counts;
    const int64_t start = at;
    for (int rank = 0; rank < group_->size(); ++rank) {
      counts.push_back(j < step_->nodes[rank] ? slice : 0);
      if (counts.back() == 0) continue;
      by_rank[rank].push_back(memory.narrow(0, at, slice));
      at += slice;
    }
    group_->all_to_all(memory.narrow(0, start, at - start), sent,
                       std::vector<int64_t>(group_->size(), sends ? slice : 0), counts);
  }
  Tensors rows;
  for (const Tensors& theirs : by_rank) rows.insert(rows.end(), theirs.begin(), theirs.end());
  if (!step_->additions.pairs.empty()) group_->in_order(adding(rows, step_->additions.pairs));
  if (!options_.sharded) {
    step_->last = group_->all_gather(part_of(kResult, bucket), rows[0]);
    return;
  }
  step_->last = group_->in_order([sum = rows[0], to = part_of(kResult, own_slice(bucket))] {
    const NoGradGuard no_grad;
    Tensor(to).copy_(sum);
  });
}

// This rank's parts become one.
void DataParallel::send_by_library(const Bucket& bucket) {
  Tensors own;
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < step_->parts.size(); ++i) {
    own.push_back(part_of(i, bucket));
    if (i != kResult) pairs.emplace_back(kResult, i);
  }
  if (!pairs.empty()) group_->in_order(adding(own, pairs));
  step_->last = group_->all_reduce(own[kResult]);
}

void DataParallel::finish() {
  check(step_ != nullptr, ErrorKind::Argument, "DataParallel",
        "finish() was called without begin()");
  send_complete(true);
  const std::unique_ptr<Step> step = std::move(step_);
  const OpScope scope("wait_for_gradients", ScopeKind::Phase);
  const auto start = std::chrono::steady_clock::now();
  step->last.wait();
  exposed_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  step->tree.clear();
}

}  // namespace plinth::distributed
