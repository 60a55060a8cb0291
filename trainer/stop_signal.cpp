#include "trainer/stop_signal.h"

#include <csignal>

namespace dsmoe::train {
namespace {

// The only thing that a handler may touch.
volatile std::sig_atomic_t requested = 0;

void remember(int /*signal*/) { requested = 1; }

void remember_once(int signal) {
  requested = 1;
  std::signal(signal, SIG_DFL);
}

/// Leaves alone what nohup or a shell's background job ignores.
void handle(int signal, void (*handler)(int)) {
  if (std::signal(signal, handler) == SIG_IGN) std::signal(signal, SIG_IGN);
}

}  // namespace

void catch_stop_signals() {
  std::signal(SIGUSR1, remember);
  std::signal(SIGTERM, remember);
}

void catch_interrupts() {
  catch_stop_signals();
  handle(SIGHUP, remember);
  handle(SIGINT, remember_once);
}

bool stop_requested() { return requested != 0; }

}  // namespace dsmoe::train
