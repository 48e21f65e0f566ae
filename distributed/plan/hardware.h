#pragma once

// GPUs as their data sheets describe them, and the links between them. What products reach of the
// peak at best, and collectives of a link, is not on data sheets: it comes from two tables about
// the chips alone, named in hardware.cpp.

#include <span>
#include <string>
#include <string_view>

namespace plinth::plan {

enum class Precision { BFloat16, Float8 };  // of linear layers' matrix products

struct Gpu {
  std::string_view name;
  double bfloat16_flops = 0;  // operations a second at the peak, dense
  double float8_flops = 0;    // 0: has none
  double bfloat16_share = 1;  // of these, what the fastest matrix products reach
  double float8_share = 1;
  double memory_bandwidth = 0;  // bytes a second
  double memory_bytes = 0;
  int multiprocessors = 0;
  int gpus_per_node = 0;         // that NVLink joins
  double nvlink_bandwidth = 0;   // bytes a second in each direction that a GPU's collectives reach
  double network_bandwidth = 0;  // the same between nodes, for each GPU

  // What products reach at best, operations a second.
  double sustained_flops(Precision precision) const {
    return precision == Precision::Float8 ? float8_flops * float8_share
                                          : bfloat16_flops * bfloat16_share;
  }
};

// a100-80gb, h100, h200, and machines that published figures were measured on.
std::span<const Gpu> gpus();

// Throws Error(Argument) with the nearest name.
const Gpu& find_gpu(std::string_view name);

}  // namespace plinth::plan
