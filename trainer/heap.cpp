#include "trainer/heap.h"

#include <malloc.h>

#include <limits>

/// jemalloc's name for the settings that a program brings along: one heap for all sizes and
/// threads, which gives nothing back, and of which a block may come out of any hole. Left alone,
/// none comes out of a hole more than 64 times its size: the larger freed memory grows together,
/// the fewer tensors find room in it.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf =
    "narenas:1,oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1,"
    "lg_extent_max_active_fit:40";
}

namespace dsmoe::train {

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace dsmoe::train
