#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsmoe::train {

/// runs/NAME/checkpoints: one directory a step, and the text file `latest`. A step is written to
/// step-NNNNNNNN.tmp and becomes complete by a rename; whatever ends in .tmp may be thrown away.

/// step-00000100.
[[nodiscard]] std::string step_directory_name(int64_t step);
/// The step of such a name, nothing for any other.
[[nodiscard]] std::optional<int64_t> parse_step_directory(std::string_view name);

/// An empty checkpoints/step-NNNNNNNN.tmp; what an interrupted save left there is removed.
/// Returns its path. Throws as throw_file_error, as all below.
std::string make_staging_directory(const std::string& checkpoints, int64_t step);

/// Syncs the staging directory of `step`, renames it to its name, and updates `latest`. A step
/// directory of that name is replaced. Returns the new path.
std::string publish(const std::string& checkpoints, int64_t step);

/// Makes `latest` name `step`, atomically.
void update_latest(const std::string& checkpoints, int64_t step);

/// The complete steps there, newest first; none where there is no directory.
[[nodiscard]] std::vector<int64_t> steps_in(const std::string& checkpoints);

/// Renames the step directories after `step` to step-NNNNNNNN.abandoned, where no run resumes from
/// them and nothing removes them but another of that name. For a run that goes on from `step`, be
/// it that they are damaged or that the user goes back: its own steps follow. `latest` names the
/// newest that is left, or is gone. Returns the new paths.
std::vector<std::string> abandon_after(const std::string& checkpoints, int64_t step);

/// Removes step directories older than the newest `keep` (at least 1), counted from the one that
/// `latest` names, but for multiples of `permanent_every` (0: none is permanent). Steps after
/// `latest` are left alone, as they did not verify. Also removes what interrupted saves left.
/// Returns the steps removed.
std::vector<int64_t> prune(const std::string& checkpoints, int64_t keep, int64_t permanent_every);

}  // namespace dsmoe::train
