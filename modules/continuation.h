#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "modules/cached_attention.h"
#include "modules/key_value_cache.h"
#include "modules/rope.h"
#include "modules/segments.h"

namespace dsmoe::nn {

// What every attention does with sequences that go on from their caches.

/// Whether nothing is cached yet, so that all there is stands in the new rows.
[[nodiscard]] bool all_begin(std::span<const Continuation> parts);

/// The new rows as segments.
[[nodiscard]] Segments segments_of(std::span<const Continuation> parts);

/// The angles of the new rows, [N, R/2]: each sequence from where its cache ends.
[[nodiscard]] RopeTable angles_of(std::span<const Continuation> parts, const RopeTable& rope);

/// Writes rows_NX behind what each cache has of the layer. Returns what the caches hold then.
[[nodiscard]] std::vector<CachedSequence> remember(const at::Tensor& rows_NX, int64_t layer,
                                                   std::span<const Continuation> parts);

}  // namespace dsmoe::nn
