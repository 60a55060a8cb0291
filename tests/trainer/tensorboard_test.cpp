#include "trainer/tensorboard.h"

#include <filesystem>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/python.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"

namespace {

using dsmoe::test::TempDirectory;
using dsmoe::train::crc32c;
using dsmoe::train::TensorBoardWriter;

TEST_CASE("crc32c gives the check values of RFC 3720") {
  CHECK(crc32c("123456789") == 0xE3069283U);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAU);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43U);
}

TEST_CASE("an event is in its file at once, and each writer has a file of its own") {
  const TempDirectory directory;
  TensorBoardWriter first(directory / "tb", 1);
  const auto before = std::filesystem::file_size(first.path());
  first.add_scalars(1, {{"train/loss", 2.5}});
  CHECK(std::filesystem::file_size(first.path()) > before);
  const TensorBoardWriter second(directory / "tb", 2);
  CHECK(first.path() != second.path());
  CHECK(dsmoe::train::read_file(first.path()).find("train/loss") != std::string::npos);
}

TEST_CASE("TensorBoard reads back what was written, and drops the steps a resumed run repeats",
          "[slow][python]") {
  if (dsmoe::test::skip_without_python()) return;
  const TempDirectory directory;
  {
    TensorBoardWriter writer(directory.path(), 1);
    for (int64_t step = 1; step <= 5; ++step) {
      const auto value = static_cast<double>(step);
      writer.add_scalars(step, {{"train/loss", 1 / value}, {"load/dead", -value}});
    }
  }
  TensorBoardWriter resumed(directory.path(), 4);
  resumed.add_scalars(4, {{"train/loss", 40.5}});
  resumed.add_scalars(1'000'000'007, {{"late", 0.25}});
  const auto result =
      dsmoe::test::run_python("trainer/tensorboard_peer.py", "'" + directory.path() + "'");
  INFO(result.output);
  CHECK(result.exit_code == 0);
}

}  // namespace
