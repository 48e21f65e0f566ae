#include "nn/gradient_tree.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"

namespace plinth::nn {

bool are_siblings(const TreeNode& left, const TreeNode& right, int64_t total) {
  const int64_t size = left.end - left.begin, other = right.end - right.begin;
  const bool is_power = (size & (size - 1)) == 0;
  return is_power && left.end == right.begin && left.begin % (2 * size) == 0 &&
         (other == size || (other < size && right.end == total));
}

namespace {

void add(const Tensors& sums, const Tensors& terms) {
  const NoGradGuard no_grad;
  for (size_t i = 0; i < sums.size(); ++i) Tensor(sums[i]).add_(terms[i]);
}

}  // namespace

TreeAdditions tree_additions(const std::vector<TreeNode>& nodes, int64_t total) {
  TreeAdditions result;
  std::vector<TreeNode> stack;
  for (size_t i = 0; i < nodes.size(); ++i) {
    check(nodes[i].begin < nodes[i].end && nodes[i].end <= total &&
              (i == 0 || nodes[i].begin == nodes[i - 1].end),
          ErrorKind::Argument, "tree_additions", "node ", i, " is [", nodes[i].begin, ", ",
          nodes[i].end, "), expected one of ", total, " that follows the node before");
    stack.push_back(nodes[i]);
    result.remaining.push_back(i);
    while (stack.size() > 1 && are_siblings(stack[stack.size() - 2], stack.back(), total)) {
      const size_t last = result.remaining.back();
      result.remaining.pop_back();
      result.pairs.emplace_back(result.remaining.back(), last);
      stack[stack.size() - 2].end = stack.back().end;
      stack.pop_back();
    }
  }
  return result;
}

std::vector<TreeNode> tree_nodes(int64_t begin, int64_t end, int64_t total) {
  std::vector<TreeNode> leaves;
  leaves.reserve(end - begin);
  for (int64_t i = begin; i < end; ++i) leaves.push_back({i, i + 1});
  const TreeAdditions additions = tree_additions(leaves, total);
  std::vector<TreeNode> nodes;
  for (size_t k = 0; k < additions.remaining.size(); ++k) {
    const bool is_last = k + 1 == additions.remaining.size();
    const size_t next = is_last ? leaves.size() : additions.remaining[k + 1];
    nodes.push_back({leaves[additions.remaining[k]].begin, leaves[next - 1].end});
  }
  return nodes;
}

// What a step that failed has left behind is nothing to add to.
void GradientTree::begin(int64_t first) {
  const bool was_left = !waiting_.empty();
  clear();
  if (was_left) gradients_.zero();
  current_ = first;
}

// The second of the last two parts is added to the first.
void GradientTree::add_last_pair() {
  const Part right = std::move(waiting_.back());
  waiting_.pop_back();
  add(waiting_.back().buffers, right.buffers);
  waiting_.back().node.end = right.node.end;
  spare_.push_back(right.buffers);
}

Tensors GradientTree::take_spare() {
  const OpScope scope("partial_sums", ScopeKind::Phase);
  if (spare_.empty()) return gradients_.make_buffers();
  Tensors buffers = std::move(spare_.back());
  spare_.pop_back();
  return buffers;
}

void GradientTree::next() {
  waiting_.push_back({{current_, current_ + 1}, gradients_.buffers()});
  ++current_;
  // Only whole subtrees, whatever the number of micro-batches.
  while (waiting_.size() > 1 &&
         are_siblings(waiting_[waiting_.size() - 2].node, waiting_.back().node, kUnknownTotal))
    add_last_pair();
  gradients_.exchange(take_spare());
  gradients_.zero();
}

std::vector<GradientTree::Part> GradientTree::parts() const {
  std::vector<Part> parts = waiting_;
  parts.push_back({{current_, current_ + 1}, gradients_.buffers()});
  return parts;
}

void GradientTree::clear() {
  if (!waiting_.empty()) {
    spare_.push_back(gradients_.exchange(waiting_[0].buffers));
    for (size_t i = 1; i < waiting_.size(); ++i) spare_.push_back(waiting_[i].buffers);
  }
  waiting_.clear();
  current_ = 0;
}

void GradientTree::finish() {
  waiting_ = parts();
  while (waiting_.size() > 1) add_last_pair();
  gradients_.exchange(waiting_[0].buffers);
  waiting_.clear();
  current_ = 0;
}

}  // namespace plinth::nn
