#pragma once

#include <string>

#include "data/loader.h"
#include "data/tokenizer.h"

namespace dsmoe::train {

/// The first `count` samples of a run as the model sees them, what is learned set apart: green
/// where `colour`, else between « and ». Special tokens show as <bos> and <eos>.
[[nodiscard]] std::string show_samples(data::Loader& loader, const data::Tokenizer& tokenizer,
                                       int64_t count, bool colour);

}  // namespace dsmoe::train
