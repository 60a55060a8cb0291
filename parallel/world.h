#pragma once

#include <cstdint>

#include "parallel/communicator.h"

namespace dsmoe::parallel {

/// The job this process is a rank of, for as long as the object lives. Outlives everything split
/// from its communicator.
class World {
 public:
  virtual ~World() = default;
  /// All ranks, as group "world".
  [[nodiscard]] virtual Communicator& communicator() = 0;
  /// Ranks on this machine, this one included: what shares its cores.
  [[nodiscard]] virtual int64_t ranks_on_host() const = 0;
  /// Ends every rank of the job at once with this exit code. Flush logs first: nothing is
  /// unwound. The only safe way out of an error that the other ranks may not have met.
  [[noreturn]] virtual void abort(int code) = 0;
};

}  // namespace dsmoe::parallel
