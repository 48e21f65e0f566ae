#include "distributed/plan/hardware.h"

#include <array>
#include <vector>

#include "core/error.h"
#include "core/nearest.h"

namespace plinth::plan {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9, kGiB = 1024.0 * 1024 * 1024;

// Bandwidth of a collective over NVLink is what NCCL 2.28 takes it to be (src/graph/topo.h,
// src/graph/tuning.cc): 20.0 GB/s for each of an A100's 12 links, at most 235 in all, and 20.6 for
// each of a Hopper's 18. The data sheets say 300 and 450 in each direction. Network adapters are
// taken at their nominal rate, one a GPU.
//
// What the fastest of many matrix products was measured at: "Maximum Achievable Matmul FLOPS
// comparison table" of S. Bekman's Machine Learning Engineering: of bfloat16, A100 SXM 86.9 % of
// the peak, H100 and H200 SXM 80.3 %; of float8, H100 70.9 %, H200 73.4 %.
constexpr double kA100NvLink = 235 * kGiga, kHopperNvLink = 18 * 20.6 * kGiga;
constexpr double kHdr = 25 * kGiga, kNdr = 50 * kGiga;  // 200 and 400 Gbit/s

constexpr std::array<Gpu, 5> kGpus = {{
    // "NVIDIA A100 Tensor Core GPU" data sheet, A100 80GB SXM; DGX A100: eight, an HDR adapter
    // each.
    {"a100-80gb", 312 * kTera, 0, 0.869, 0, 2039 * kGiga, 80 * kGiB, 108, 8, kA100NvLink, kHdr},
    // "NVIDIA H100 Tensor Core GPU" data sheet, H100 SXM (halved: without sparsity); DGX H100:
    // eight, an NDR adapter each.
    {"h100", 989.4 * kTera, 1978.9 * kTera, 0.803, 0.709, 3350 * kGiga, 80 * kGiB, 132, 8,
     kHopperNvLink, kNdr},
    // "NVIDIA H200 Tensor Core GPU" data sheet, H200 SXM.
    {"h200", 989.4 * kTera, 1978.9 * kTera, 0.803, 0.734, 4800 * kGiga, 141 * kGiga, 132, 8,
     kHopperNvLink, kNdr},
    // What torchtitan's benchmarks ran on: HBM2e of 2.4 TB/s and a limit of 500 W, for which they
    // say that the peak lies between that of the H100 NVL (400 W, 835.5 TFLOP/s) and of the SXM
    // (700 W, 989.4): taken on the line between the two.
    {"h100-500w", 886.8 * kTera, 1773.6 * kTera, 0.803, 0.709, 2400 * kGiga, 96 * kGiB, 132, 8,
     kHopperNvLink, kNdr},
    // Jean Zay, where BLOOM was trained (arXiv 2211.05100, section 3.4): four Omni-Path links of
    // 100
    // Gbit/s for the eight GPUs of a node.
    {"a100-jean-zay", 312 * kTera, 0, 0.869, 0, 2039 * kGiga, 80 * kGiB, 108, 8, kA100NvLink,
     6.25 * kGiga},
}};

}  // namespace

std::span<const Gpu> gpus() {
  return kGpus;
}

const Gpu& find_gpu(std::string_view name) {
  std::vector<std::string_view> names;
  std::string all;
  for (const Gpu& gpu : kGpus) {
    if (gpu.name == name) return gpu;
    names.push_back(gpu.name);
    all += (all.empty() ? "" : ", ") + std::string(gpu.name);
  }
  throw Error(ErrorKind::Argument, "gpu",
              detail::concat("got '", name, "', takes one of ", all,
                             " (nearest: ", nearest(name, names), ")"));
}

}  // namespace plinth::plan
