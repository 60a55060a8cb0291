#include "trainer/checkpoint_directory.h"

#include <filesystem>
#include <fstream>

#include "parallel/local_communicator.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/manifest.h"
#include "trainer/newest_checkpoint.h"

namespace {

using dsmoe::test::TempDirectory;
namespace fs = std::filesystem;
namespace train = dsmoe::train;

std::string save(const std::string& checkpoints, int64_t step, const std::string& content = "x") {
  const std::string staging = train::make_staging_directory(checkpoints, step);
  fs::create_directory(staging + "/model");
  train::write_file_atomically(staging + "/model/weights", content);
  train::write_manifest(staging, {step, "", 1, 1, 1, 1, train::record_files(staging)});
  return train::publish(checkpoints, step);
}

void damage(const std::string& checkpoints, int64_t step) {
  std::ofstream(checkpoints + "/" + train::step_directory_name(step) + "/model/weights") << "y";
}

bool exists(const std::string& checkpoints, int64_t step) {
  return fs::exists(checkpoints + "/" + train::step_directory_name(step));
}

TEST_CASE("step directories have eight digits or more") {
  CHECK(train::step_directory_name(100) == "step-00000100");
  CHECK(train::step_directory_name(1234567890) == "step-1234567890");
  CHECK(train::parse_step_directory("step-00000100") == 100);
  CHECK(train::parse_step_directory("step-1234567890") == 1234567890);
  for (const char* name : {"step-", "step-100", "step-00000100.tmp", "step-0000000100", "latest",
                           "step--0000001", "step-99999999999999999999"}) {
    INFO(name);
    CHECK_FALSE(train::parse_step_directory(name));
  }
}

TEST_CASE("publishing makes a step complete and names it in latest") {
  const TempDirectory directory;
  const std::string path = save(directory.path(), 100);
  CHECK(path == directory / "step-00000100");
  CHECK(train::read_file(directory / "latest") == "step-00000100\n");
  CHECK_FALSE(fs::exists(directory / "step-00000100.tmp"));
  CHECK(train::verify(path).step == 100);
}

TEST_CASE("publishing a step again replaces it") {
  const TempDirectory directory;
  save(directory.path(), 100, "old");
  save(directory.path(), 100, "new");
  CHECK(train::read_file(directory / "step-00000100/model/weights") == "new");
  CHECK(std::distance(fs::directory_iterator(directory.path()), {}) == 2);
}

TEST_CASE("staging starts empty after an interrupted save") {
  const TempDirectory directory;
  const std::string staging = train::make_staging_directory(directory.path(), 5);
  std::ofstream(staging + "/torn") << "x";
  CHECK(train::make_staging_directory(directory.path(), 5) == staging);
  CHECK(fs::is_empty(staging));
}

TEST_CASE("the newest checkpoint that verifies is taken, with a warning for each damaged one") {
  const TempDirectory directory;
  std::vector<std::string> warnings;
  dsmoe::parallel::LocalCommunicator world;
  CHECK_FALSE(train::newest_complete(directory.path(), warnings, world));
  CHECK_FALSE(train::newest_complete(directory / "none", warnings, world));
  for (const int64_t step : {100, 200, 300, 400}) save(directory.path(), step);
  damage(directory.path(), 300);
  fs::remove(directory / "step-00000400/manifest.json");
  train::make_staging_directory(directory.path(), 500);
  CHECK(train::newest_complete(directory.path(), warnings, world) == directory / "step-00000200");
  REQUIRE(warnings.size() == 2);
  CHECK(warnings[0].find("step-00000400/manifest.json") != std::string::npos);
  CHECK(warnings[1].find("step-00000300/model/weights") != std::string::npos);
  CHECK(warnings[1].find('\n') == std::string::npos);
}

TEST_CASE("a run that goes back sets the later checkpoints aside") {
  const TempDirectory directory;
  for (const int64_t step : {100, 200, 300}) save(directory.path(), step, "old");
  CHECK(train::abandon_after(directory.path(), 300).empty());
  CHECK(train::abandon_after(directory.path(), 100) ==
        std::vector<std::string>{directory / "step-00000300.abandoned",
                                 directory / "step-00000200.abandoned"});
  CHECK(train::read_file(directory / "latest") == "step-00000100\n");
  save(directory.path(), 200, "new");
  CHECK(train::abandon_after(directory.path(), 0).size() == 2);
  CHECK(train::read_file(directory / "step-00000200.abandoned/model/weights") == "new");
  CHECK_FALSE(fs::exists(directory / "latest"));
  CHECK(train::prune(directory.path(), 1, 0).empty());
  CHECK(fs::exists(directory / "step-00000300.abandoned"));
}

TEST_CASE("pruning keeps the newest and the permanent ones") {
  const TempDirectory directory;
  for (int64_t step = 100; step <= 700; step += 100) save(directory.path(), step);
  CHECK(train::prune(directory.path(), 2, 300) == std::vector<int64_t>{500, 400, 200, 100});
  for (const int64_t step : {300, 600, 700}) CHECK(exists(directory.path(), step));
  CHECK(train::prune(directory.path(), 0, 0) == std::vector<int64_t>{600, 300});
  CHECK(exists(directory.path(), 700));
}

TEST_CASE("pruning never counts a later checkpoint that did not verify") {
  const TempDirectory directory;
  for (const int64_t step : {100, 200, 300}) save(directory.path(), step);
  damage(directory.path(), 300);
  save(directory.path(), 250);
  CHECK(train::prune(directory.path(), 1, 0) == std::vector<int64_t>{200, 100});
  CHECK(exists(directory.path(), 250));
  CHECK(exists(directory.path(), 300));
}

TEST_CASE("pruning removes what interrupted saves left, and nothing else") {
  const TempDirectory directory;
  save(directory.path(), 100);
  train::make_staging_directory(directory.path(), 50);
  fs::create_directory(directory / "mine.tmp");
  CHECK(train::prune(directory.path(), 1, 0).empty());
  CHECK_FALSE(fs::exists(directory / "step-00000050.tmp"));
  CHECK(fs::exists(directory / "mine.tmp"));
  CHECK(exists(directory.path(), 100));
}

}  // namespace
