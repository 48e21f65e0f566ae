#pragma once

// A run on one page: an HTML file that needs nothing beside it, no network and no script, and reads
// well in light and dark, on a screen, a phone and paper.

#include <filesystem>
#include <string>

#include "train/logging/report/run_history.h"

namespace plinth {

std::string html_report(const RunHistory& history);
void write_html_report(const std::filesystem::path& path, const RunHistory& history);

}  // namespace plinth
