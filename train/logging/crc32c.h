#pragma once

#include <cstdint>
#include <string_view>

namespace plinth {

// CRC-32C (Castagnoli; RFC 3720, appendix B.4): polynomial 0x1EDC6F41, reflected, both ends
// inverted.
uint32_t crc32c(std::string_view bytes);

}  // namespace plinth
