#include "trainer/checkpoint_directory.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "configs/errors.h"
#include "trainer/atomic_file.h"

namespace dsmoe::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kStagingSuffix = ".tmp";
constexpr const char* kAbandonedSuffix = ".abandoned";
constexpr size_t kDigits = 8;
constexpr size_t kMaxDigits = 18;  // of an int64_t, whatever they are

std::string step_path(const std::string& checkpoints, int64_t step) {
  return checkpoints + "/" + step_directory_name(step);
}

std::string staging_path(const std::string& checkpoints, int64_t step) {
  return step_path(checkpoints, step) + std::string(kStagingSuffix);
}

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw_file_error("rename to", to, errno);
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw_file_error("remove", path, error.value());
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

void sync_tree(const std::string& directory) {
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_directory()) sync_directory(entry.path().string());
  }
  sync_directory(directory);
}

/// A half-removed directory must not look like a step.
void remove_step(const std::string& checkpoints, int64_t step) {
  const std::string staging = staging_path(checkpoints, step);
  remove_tree(staging);
  rename_path(step_path(checkpoints, step), staging);
  remove_tree(staging);
}

void remove_leftovers(const std::string& checkpoints) {
  for (const std::string& name : names_in(checkpoints)) {
    const bool ours = name.compare(0, kPrefix.size(), kPrefix) == 0;
    if (ours && fs::path(name).extension() == kStagingSuffix) {
      remove_tree(checkpoints + "/" + name);
    }
  }
}

std::optional<int64_t> latest_step(const std::string& checkpoints) {
  const std::string path = checkpoints + "/latest";
  if (!fs::exists(path)) return std::nullopt;
  const std::string text = read_file(path);
  return parse_step_directory(std::string_view(text).substr(0, text.find('\n')));
}

}  // namespace

std::vector<int64_t> steps_in(const std::string& checkpoints) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(checkpoints)) {
    if (const auto step = parse_step_directory(name)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::string step_directory_name(int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return std::string(kPrefix) + digits;
}

std::optional<int64_t> parse_step_directory(std::string_view name) {
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  const bool numeric = digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!numeric || digits.empty() || digits.size() > kMaxDigits) return std::nullopt;
  const int64_t step = std::stoll(std::string(digits));
  return name == step_directory_name(step) ? std::optional(step) : std::nullopt;
}

std::string make_staging_directory(const std::string& checkpoints, int64_t step) {
  const std::string staging = staging_path(checkpoints, step);
  remove_tree(staging);
  make_directories(staging);
  return staging;
}

std::string publish(const std::string& checkpoints, int64_t step) {
  const std::string staging = staging_path(checkpoints, step);
  const std::string path = step_path(checkpoints, step);
  const std::string replaced = path + ".old" + std::string(kStagingSuffix);
  sync_tree(staging);
  remove_tree(replaced);
  if (fs::exists(path)) rename_path(path, replaced);
  rename_path(staging, path);
  sync_directory(checkpoints);
  update_latest(checkpoints, step);
  remove_tree(replaced);
  return path;
}

void update_latest(const std::string& checkpoints, int64_t step) {
  write_file_atomically(checkpoints + "/latest", step_directory_name(step) + "\n");
}

std::vector<std::string> abandon_after(const std::string& checkpoints, int64_t step) {
  std::vector<std::string> abandoned;
  for (const int64_t later : steps_in(checkpoints)) {
    if (later <= step) break;
    const std::string path = step_path(checkpoints, later) + kAbandonedSuffix;
    remove_tree(path);
    rename_path(step_path(checkpoints, later), path);
    abandoned.push_back(path);
  }
  if (abandoned.empty()) return abandoned;
  const auto left = steps_in(checkpoints);
  if (left.empty()) {
    remove_tree(checkpoints + "/latest");
  } else {
    update_latest(checkpoints, left.front());
  }
  return abandoned;
}

std::vector<int64_t> prune(const std::string& checkpoints, int64_t keep, int64_t permanent_every) {
  remove_leftovers(checkpoints);
  std::vector<int64_t> removed;
  const auto latest = latest_step(checkpoints);
  int64_t kept = 0;
  for (const int64_t step : steps_in(checkpoints)) {
    if (!latest || step > *latest) continue;
    const bool permanent = permanent_every > 0 && step % permanent_every == 0;
    if (kept++ < std::max<int64_t>(keep, 1) || permanent) continue;
    remove_step(checkpoints, step);
    removed.push_back(step);
  }
  return removed;
}

}  // namespace dsmoe::train
