#pragma once

namespace dsmoe::train {

/// From now on SIGUSR1 and SIGTERM ask for an end after the step under way instead of ending the
/// process at once. mpirun passes SIGUSR1 on to every rank; after SIGTERM it leaves them a second.
void catch_stop_signals();

/// The same for work that has files to tidy up, and for SIGINT and SIGHUP too. A second SIGINT ends
/// the process at once; signals that were ignored stay so.
void catch_interrupts();

/// Whether this process was asked.
[[nodiscard]] bool stop_requested();

}  // namespace dsmoe::train
