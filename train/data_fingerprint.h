#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace plinth {

// A number that files with the same bytes share, and folders whose files have the same names and
// sizes. Throws Error(Io).
uint64_t fingerprint_of(const std::vector<std::filesystem::path>& files);

}  // namespace plinth
