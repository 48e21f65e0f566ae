// Parameters that some ranks have, and the whole on rank 0.

#include "distributed/placement.h"

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "nn/module.h"
#include "nn/optim/adamw.h"
#include "tests/core/io/expect_error.h"
#include "tests/distributed/on_ranks.h"

namespace plinth::distributed {
namespace {

using Group = std::shared_ptr<ProcessGroup>;

// Three matrices and a vector.
class Four : public nn::Module {
 public:
  Four() {
    for (int i = 0; i < 4; ++i) {
      const Shape shape = i == 2 ? Shape{3} : Shape{2, i + 2};
      const Tensor values = normal(shape, 0, 1, {.seed = 1, .sample = i});
      tensors_.push_back(register_parameter(detail::concat("p", i), values));
    }
  }
  const Tensors& tensors() const { return tensors_; }

 private:
  Tensors tensors_;
};

// Two steps with gradients that are functions of the parameters.
void take_steps(nn::Optimizer& optimizer) {
  for (int step = 0; step < 2; ++step) {
    for (const Tensor& parameter : optimizer.parameters()) sum(square(parameter) * 0.3).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
}

std::vector<std::string> names_of(const std::vector<nn::ParameterGroup>& groups) {
  std::vector<std::string> names;
  for (const nn::ParameterGroup& group : groups) {
    for (const nn::NamedTensor& entry : group.parameters) names.push_back(entry.name);
  }
  return names;
}

void expect_same(const nn::StateDict& a, const nn::StateDict& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a)
    EXPECT_EQ(to_vector(tensor), to_vector(nn::find(b, name))) << name;
}

// p0 is the last rank's, p1 rank 0's, p2 the middle one's, p3 that of both others.
std::vector<bool> own_of(int rank) {
  switch (rank) {
    case 0: return {false, true, false, false};
    case 1: return {false, false, true, true};
    default: return {true, false, false, true};
  }
}

TEST(Placement, GathersWhatOneProcessHas) {
  Four whole;
  nn::AdamW reference(nn::decay_matrices(whole, 0.1), {.lr = 0.1});
  const std::vector<std::string> order = names_of(nn::decay_matrices(whole, 0.1));
  take_steps(reference);
  on_ranks(3, [&](const Group& group) {
    Four model;
    Placement placement(group, model.named_parameters(), own_of(group->rank()), {});
    EXPECT_EQ(placement.own_parameters().size(), group->rank() == 0 ? 1 : 2);
    EXPECT_EQ(model.tensors()[3].shape(), (Shape{2, 5}));
    EXPECT_EQ(model.tensors()[3].requires_grad(), group->rank() > 0);
    EXPECT_EQ(model.tensors()[0].storage()->bytes() > 4, group->rank() == 2);
    nn::AdamW optimizer(nn::decay_matrices(model, 0.1), {.lr = 0.1});
    take_steps(optimizer);
    const nn::StateDict weights = placement.gather_weights();
    const nn::StateDict state = placement.gather_state(optimizer, optimizer.state_dict(), order);
    if (group->rank() > 0) {
      EXPECT_TRUE(weights.empty() && state.empty());
      return;
    }
    expect_same(weights, whole.state_dict());
    expect_same(state, reference.state_dict());
  });
}

TEST(Placement, TakesItsPartOfAWhole) {
  Four whole;
  nn::AdamW reference(nn::decay_matrices(whole, 0.1), {.lr = 0.1});
  const std::vector<std::string> order = names_of(nn::decay_matrices(whole, 0.1));
  take_steps(reference);
  const nn::StateDict weights = whole.state_dict(), state = reference.state_dict();
  on_ranks(3, [&](const Group& group) {
    Four model;
    Placement placement(group, model.named_parameters(), own_of(group->rank()), {});
    nn::AdamW optimizer(nn::decay_matrices(model, 0.1), {.lr = 0.1});
    placement.fill();
    model.load_state_dict(weights);
    placement.release();
    optimizer.load_state_dict(placement.own_state(optimizer, state, order));
    const nn::StateDict again = placement.gather_state(optimizer, optimizer.state_dict(), order);
    const nn::StateDict back = placement.gather_weights();
    if (group->rank() > 0) return;
    expect_same(back, weights);
    expect_same(again, state);
  });
}

TEST(Placement, RefusesWhatIsNotComplete) {
  on_ranks(2, [](const Group& group) {
    const Four model;
    expect_error(ErrorKind::Argument, "Placement: no rank has p1", [&] {
      Placement(group, model.named_parameters(), {true, false, true, true}, {});
    });
    expect_error(ErrorKind::Argument, "own has 1 entries, takes one for each of the 4 parameters",
                 [&] { Placement(group, model.named_parameters(), {true}, {}); });
    Placement placement(group, model.named_parameters(), std::vector<bool>(4, true), {});
    nn::AdamW adamw(nn::all_parameters(model));
    expect_error(ErrorKind::Shape, "takes int64 [4], the number of parameters", [&] {
      placement.own_state(adamw, {{"steps", zeros({3}, {DType::Int64, {}})}},
                          names_of(nn::all_parameters(model)));
    });
  });
}

}  // namespace
}  // namespace plinth::distributed
