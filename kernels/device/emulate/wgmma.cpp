#include "kernels/device/emulate/wgmma.h"

#include <string>

#include "kernels/device/emulate/cluster.h"
#include "kernels/device/emulate/warp.h"

namespace plinth::device::detail {
namespace {

using emulate::Proxy;
using emulate::SharedMemory;
using emulate::Warpgroup;

constexpr uint32_t kUnit = 16;    // bytes
constexpr int kUnitElements = 8;  // of 16 bits
constexpr int kDepth = 16;

// A matrix in shared memory as the hardware finds it by its descriptor.
class Matrix {
 public:
  Matrix(MatrixDescriptor descriptor, Major major, Location at)
      : start_(field(descriptor, 0)),
        leading_(field(descriptor, 16)),
        stride_(field(descriptor, 32)),
        major_(major),
        swizzle_(static_cast<Swizzle>((4 - (descriptor.bits >> 62)) % 4)),
        span_(swizzle_span(swizzle_)) {
    if (swizzle_ != Swizzle::None && start_ % (8 * span_) >= span_) {
      Block::current().fail("a descriptor that starts at " + std::to_string(start_) +
                                ", not within the first " + std::to_string(span_) +
                                " bytes of its swizzle's pattern",
                            at);
    }
  }

  // Offset in shared memory of unit (i, j), as tile.h counts them.
  uint32_t unit(uint32_t i, uint32_t j) const {
    const bool by_k = major_ == Major::K;
    if (swizzle_ == Swizzle::None) {
      const uint32_t group = by_k ? stride_ : leading_, next = by_k ? leading_ : stride_;
      return start_ + i / 8 * group + i % 8 * kUnit + j * next;
    }
    const uint32_t units = span_ / kUnit;
    const uint32_t along = by_k ? j * kUnit : j / units * leading_ + j % units * kUnit;
    return swizzled(start_ + i / 8 * stride_ + i % 8 * span_ + along, swizzle_);
  }
  Major major() const { return major_; }

 private:
  static uint32_t field(MatrixDescriptor descriptor, int shift) {
    return static_cast<uint32_t>(descriptor.bits >> shift & 0x3fff) << 4;
  }

  uint32_t start_, leading_, stride_;
  Major major_;
  Swizzle swizzle_;
  uint32_t span_;
};

// Reads `rows` x 16 elements, rows being of M or N, to values[row * 16 + k].
void read_matrix(const Matrix& matrix, int rows, Format format, const emulate::Agent& agent,
                 float* values, Location at) {
  SharedMemory& memory = Block::current().shared();
  const bool by_k = matrix.major() == Major::K;
  const int outer = by_k ? rows : kDepth, inner = (by_k ? kDepth : rows) / kUnitElements;
  for (int i = 0; i < outer; ++i) {
    for (int j = 0; j < inner; ++j) {
      const std::byte* const unit =
          memory.data() + matrix.unit(static_cast<uint32_t>(i), static_cast<uint32_t>(j));
      memory.check_bounds(unit, kUnit, kUnit, "wgmma's read", at);
      memory.history().read(memory.offset_of(unit), kUnit, agent, at);
      for (int e = 0; e < kUnitElements; ++e) {
        uint16_t bits;
        std::memcpy(&bits, unit + 2 * e, 2);
        const int along = j * kUnitElements + e;
        values[by_k ? i * kDepth + along : along * kDepth + i] = value_of(bits, format);
      }
    }
  }
}

// A from the registers of all threads.
void gather_a(std::span<void* const> threads, Format format, float* values) {
  for (int t = 0; t < 128; ++t) {
    const uint32_t* const a = static_cast<const WgmmaThread*>(threads[t])->a;
    for (int i = 0; i < 8; ++i) {
      const int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2);
      const int k = t % 4 * 2 + i % 2 + 8 * (i / 4);
      values[row * kDepth + k] =
          value_of(static_cast<uint16_t>(a[i / 2] >> (16 * (i % 2))), format);
    }
  }
}

void add_products(std::span<void* const> threads, const WgmmaShape& shape, const float* a,
                  const float* b) {
  for (int t = 0; t < 128; ++t) {
    const auto& mine = *static_cast<const WgmmaThread*>(threads[t]);
    for (int i = 0; i < shape.n / 2; ++i) {
      const float* const row = a + (t / 32 * 16 + t % 32 / 4 + 8 * (i % 4 / 2)) * kDepth;
      const float* const column = b + (i / 4 * 8 + t % 4 * 2 + i % 2) * kDepth;
      float sum = mine.accumulate ? mine.d[i] : 0.0f;
      for (int k = 0; k < kDepth; ++k) sum += shape.sign * row[k] * column[k];
      mine.d[i] = sum;
    }
  }
}

void check_alike(std::span<void* const> threads, Location at) {
  const auto& first = *static_cast<const WgmmaThread*>(threads[0]);
  for (void* const data : threads) {
    const auto& other = *static_cast<const WgmmaThread*>(data);
    if (other.a_matrix.bits != first.a_matrix.bits || other.b_matrix.bits != first.b_matrix.bits ||
        other.accumulate != first.accumulate)
      Block::current().fail("threads of a warpgroup bring different descriptors to a wgmma", at);
  }
}

// What all threads of the warpgroup know.
emulate::Knowledge common_knowledge(Block& block) {
  const uint32_t first = block.thread().id / 128 * 128;
  emulate::Knowledge common = block.all_threads()[first]->knows;
  for (uint32_t t = first + 1; t < first + 128; ++t) {
    const emulate::Knowledge& knows = block.all_threads()[t]->knows;
    common.seen.meet(knows.seen);
    common.async_seen.meet(knows.async_seen);
  }
  return common;
}

void run_product(std::span<void* const> threads, const WgmmaShape& shape, Location at) {
  check_alike(threads, at);
  Block& block = Block::current();
  Warpgroup& warpgroup = block.warpgroup();
  if (warpgroup.agent == 0) {
    warpgroup.agent =
        block.cluster().new_agent("wgmma of warpgroup " + std::to_string(block.thread().id / 128));
  }
  ++warpgroup.products;
  const emulate::Knowledge knows = common_knowledge(block);
  const emulate::Agent agent{
      &knows, {knows.cluster, warpgroup.agent, warpgroup.products}, Proxy::Async};
  const auto& first = *static_cast<const WgmmaThread*>(threads[0]);
  std::vector<float> a(64 * kDepth), b(static_cast<size_t>(shape.n) * kDepth);
  if (first.a) {
    gather_a(threads, shape.format, a.data());
  } else {
    read_matrix(Matrix(first.a_matrix, shape.a_major, at), 64, shape.format, agent, a.data(), at);
  }
  read_matrix(Matrix(first.b_matrix, shape.b_major, at), shape.n, shape.format, agent, b.data(),
              at);
  add_products(threads, shape, a.data(), b.data());
  for (void* const data : threads) static_cast<WgmmaThread*>(data)->product = warpgroup.products;
}

}  // namespace

void check_registers(const emulate::RegisterUse& use, Location at) {
  if (use.touched) {
    Block::current().fail(
        "wgmma on registers that were accessed after the last wgmma_fence() that names them", at);
  }
}

void multiply_warpgroup(const WgmmaShape& shape, WgmmaThread& mine, Location at) {
  Block& block = Block::current();
  block.meet_warpgroup(
      &mine, [&](std::span<void* const> threads) { run_product(threads, shape, at); }, at);
  block.thread().open_product = mine.product;
}

void commit_products() {
  emulate::Thread& self = Block::current().thread();
  self.product_groups.push_back(std::exchange(self.open_product, 0));
}

void wait_for_products(size_t newest) {
  Block& block = Block::current();
  emulate::Thread& self = block.thread();
  while (self.product_groups.size() > newest) {
    self.products_done = std::max(self.products_done, self.product_groups.front());
    self.product_groups.pop_front();
  }
  if (self.products_done > 0) self.knows.seen.set(block.warpgroup().agent, self.products_done);
}

bool product_done(uint32_t product) {
  return product <= Block::current().thread().products_done;
}

// ---- registers ----

namespace {

constexpr uint32_t kRegisters = 64 * 1024;

// What each thread of such a block begins with, if it has the multiprocessor for itself.
uint32_t registers_at_launch(uint32_t threads) {
  return std::min(kRegisters / threads, 255u) / 8 * 8;
}

}  // namespace

void set_registers(uint32_t count, bool increase, Location at) {
  Block& block = Block::current();
  const uint32_t threads = block.threads().count();
  const uint32_t launched = registers_at_launch(threads);
  if (block.thread().id / 128 >= threads / 128)
    block.fail("setmaxnreg by a warp that is in no warpgroup", at);
  Warpgroup& group = block.warpgroup();
  block.meet_warpgroup(
      &count,
      [&](std::span<void* const> all) {
        for (void* const data : all) {
          if (*static_cast<const uint32_t*>(data) != count)
            block.fail("warps of a warpgroup ask for different numbers of registers", at);
        }
        const uint32_t now = group.registers ? group.registers : launched;
        if (increase ? count < now : count > now) {
          block.fail(std::string(increase ? "increase" : "decrease") + " of registers from " +
                         std::to_string(now) + " to " + std::to_string(count),
                     at);
        }
        if (!increase) group.registers = count;
      },
      at);
  if (!increase) return;
  const auto others = [&] {
    uint32_t sum = 0;
    for (const Warpgroup& other : block.all_warpgroups()) {
      if (&other != &group) sum += 128 * (other.registers ? other.registers : launched);
    }
    return sum;
  };
  block.wait([&] { return others() + 128 * count <= threads * launched; },
             [&] {
               return std::to_string(count) + " registers a thread (line " +
                      std::to_string(at.line()) + "), which other warps hold";
             });
  group.registers = count;
}

}  // namespace plinth::device::detail
