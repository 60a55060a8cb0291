#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace dsmoe::train {

/// Thrown on ranks that have nothing to add to an error that another rank reports.
class PeerFailed : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "another rank reports"; }
};

/// Runs `body` on every rank. Where it throws UserError on some ranks, the lowest of them rethrows
/// it and all others throw PeerFailed, so that one message is printed and no rank is left in a
/// collective. `body` must not communicate before it throws. Collective.
void agree(parallel::Communicator& world, const std::function<void()>& body);

/// Gives every rank the text of rank `root`. Collective.
void broadcast_text(std::string& text, parallel::Communicator& world, int64_t root = 0);

/// The numbers of all ranks, by rank, on every rank. Collective.
[[nodiscard]] std::vector<int64_t> gather_number(int64_t number, parallel::Communicator& world);

/// The texts of all ranks, by rank, on every rank. Collective.
[[nodiscard]] std::vector<std::string> gather_texts(const std::string& text,
                                                    parallel::Communicator& world);

}  // namespace dsmoe::train
