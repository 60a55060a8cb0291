#include "trainer/heap.h"

#include <malloc.h>

#include <limits>

/// jemalloc's name for the settings that a program brings along: one heap for all sizes and
/// threads, which gives nothing back.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:1,oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1";
}

namespace dsmoe::train {

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace dsmoe::train
