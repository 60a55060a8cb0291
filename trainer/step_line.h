#pragma once

#include <cstdint>
#include <string>

#include "trainer/step_report.h"

namespace dsmoe::train {

/// The console line of a step, of fixed width for a run, columns parted by " | ":
///
///     step  120/2000   6.0% | loss  4.2130 | aux e1.02 d1.01 c1.03 | gnorm   0.87 | lr 2.4e-04 |
///     tok/s  41.2k |    212 ms (comm   31, data    1) | mem   3.4 GiB | vio 0.21 dead   0
///     drop  0.9% dev/tok 2.71 | eta  6m12s
///
/// aux: raw balance losses, expert, device, communication. A skipped step says so at the end.
[[nodiscard]] std::string step_line(const StepReport& report, int64_t total_steps,
                                    double eta_seconds);

/// The console line of an evaluation: `eval webster | loss 1.5312 | 2.2091 bits/byte | ...`.
[[nodiscard]] std::string eval_line(const std::string& name, const EvalReport& report);

/// One stretch of positions of `dsmoe eval --by-position`.
[[nodiscard]] std::string position_line(const PositionLoss& one);

}  // namespace dsmoe::train
