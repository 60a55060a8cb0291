#include "trainer/stop_signal.h"

#include <csignal>

namespace dsmoe::train {
namespace {

// The only thing that a handler may touch.
volatile std::sig_atomic_t requested = 0;

void remember(int /*signal*/) { requested = 1; }

}  // namespace

void catch_stop_signals() {
  std::signal(SIGUSR1, remember);
  std::signal(SIGTERM, remember);
}

bool stop_requested() { return requested != 0; }

}  // namespace dsmoe::train
