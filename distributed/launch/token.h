#pragma once

#include <filesystem>
#include <string>

namespace plinth::distributed {

// The secret in a file. Of several processes that ask for a file that is missing, on one host or on
// several that share a file system, one makes it, with a random secret, for its owner's eyes only.
// Error(Config) for an empty file or a secret that is too long, Error(Io) for one that cannot be
// read or made.
std::string shared_token(const std::filesystem::path& file);

}  // namespace plinth::distributed
