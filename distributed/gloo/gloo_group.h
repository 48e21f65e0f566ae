#pragma once

// Ranks that are processes, on CPUs: TCP connections between all of them, made by Gloo
// (github.com/facebookincubator/gloo). Each rank sums a slice of the elements in order of ranks, so
// that a sum has the same bits on all ranks and in every run with as many.
//
// A peer that dies is noticed at once, one that is stopped or late by the deadline; the error names
// the collective and the ranks. A rank that gives up tells the others why through the store.

#include "distributed/process_group.h"

namespace plinth::distributed {

struct GlooOptions {
  // Of this rank, where the others reach it: a name or an address, or the name of an interface in
  // its place.
  std::string address = "127.0.0.1";
  std::string interface = {};
};

// All ranks call it with a store that they share and that nothing else has used (a PrefixStore
// serves); it is needed as long as the group lives. Waits for all. Throws Error(Argument) for an
// address or interface that this machine has not, and Error(Io), which names the ranks
// that did not come within the timeout.
std::shared_ptr<ProcessGroup> make_gloo_group(std::shared_ptr<Store> store, int rank, int size,
                                              GroupOptions options = {},
                                              const GlooOptions& gloo = {});

}  // namespace plinth::distributed
