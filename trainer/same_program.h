#pragma once

#include "parallel/communicator.h"

namespace dsmoe::train {

/// Throws ConfigError, on all ranks alike, where a rank runs another program file than rank 0, with
/// other arguments, or has loaded another build of a library that it computes or communicates with:
/// such ranks would compute different numbers, hang, or leave what they were told undone.
/// Nothing to do for one rank. Collective.
void check_same_program(parallel::Communicator& world);

}  // namespace dsmoe::train
