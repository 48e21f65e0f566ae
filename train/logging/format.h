#pragma once

// Numbers as people read them.

#include <cstdint>
#include <string>

namespace plinth {

// "950", "18.4k", "1.2M", "3.05G": three digits and a power of 1000.
std::string format_count(double count);
// "512 B", "1.2 GiB": powers of 1024.
std::string format_bytes(uint64_t bytes);
// "0.4 s", "12 s", "3 min 05 s", "2 h 10 min", "3 d 04 h".
std::string format_duration(double seconds);
// Four digits after the point where the number is near 1, else an exponent: "3.2140", "6.0e-04".
std::string format_value(double value);

}  // namespace plinth
