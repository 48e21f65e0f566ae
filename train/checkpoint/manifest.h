#pragma once

// What a whole checkpoint consists of: manifest.json lists every file beside it with its size and
// its XXH3 hash, so that a part of a checkpoint, or one that rotted, is never taken for a whole
// one.
//
//   {"version": 1, "files": {"model.safetensors": {"bytes": 4096, "xxh3": "0123456789abcdef"}}}

#include <filesystem>
#include <string>

namespace plinth {

// Hashes a file into NAME.entry beside it, for write_manifest: so that many processes hash what
// each has written. Throws Error(Io).
void write_manifest_entry(const std::filesystem::path& file);

// Lists the files of a directory into its manifest.json, by their entries where there are such,
// which are removed. Throws Error(Io), or Error(Format) for an entry that is none.
void write_manifest(const std::filesystem::path& directory);

// Reads every file that manifest.json lists. Empty if all are as listed, else what is not, as
// "model.safetensors has 10 bytes, expected 4096". Does not throw for damaged files.
std::string manifest_fault(const std::filesystem::path& directory);

}  // namespace plinth
