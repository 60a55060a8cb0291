#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/loader.h"

namespace dsmoe::train {

/// What was kept, held out, cut and dropped of each source, and why, with token counts; and how
/// often a run of `sequences` rows of `length` tokens reads it all.
[[nodiscard]] std::string packing_report(const std::vector<data::Loader::Packed>& sources,
                                         int64_t length, int64_t sequences);

}  // namespace dsmoe::train
