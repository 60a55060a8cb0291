#pragma once

namespace dsmoe::train {

/// Keeps memory that was freed for the next allocation, of any size: a step asks again for what it
/// has just given back, and pages fresh from the kernel would be zeroed first. All threads share
/// one heap, so that peaks do not depend on which of them was first. For the whole process.
/// jemalloc has read its settings before main, where it is linked (CMake: JEMALLOC_LIBRARY);
/// elsewhere glibc's malloc is told now, whose holes take up to a sixth more.
void keep_freed_memory();

}  // namespace dsmoe::train
