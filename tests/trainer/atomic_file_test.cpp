#include "trainer/atomic_file.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"

namespace {

using dsmoe::test::TempDirectory;
namespace train = dsmoe::train;

int64_t files_in(const std::string& directory) {
  return std::distance(std::filesystem::directory_iterator(directory), {});
}

/// Takes away the rights of root for a scope, so that permissions count.
class WithoutRoot {
 public:
  WithoutRoot() : was_root_(::geteuid() == 0) {
    if (was_root_ && ::seteuid(65534) != 0) throw std::runtime_error("seteuid");
  }
  ~WithoutRoot() {
    if (was_root_ && ::seteuid(0) != 0) std::abort();
  }

 private:
  bool was_root_;
};

template <typename Error, typename Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("an atomic write replaces the file and leaves no temporary one") {
  const TempDirectory directory;
  train::write_file_atomically(directory / "latest", "step-00000001\n");
  train::write_file_atomically(directory / "latest", "step-2\n");
  CHECK(train::read_file(directory / "latest") == "step-2\n");
  CHECK(files_in(directory.path()) == 1);
}

TEST_CASE("a directory without write permission is the user's to mend, and the file stands") {
  const TempDirectory directory;
  train::write_file_atomically(directory / "latest", "old");
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0555));
  std::string message;
  {
    const WithoutRoot rights;
    message = message_of<dsmoe::UserError>(
        [&] { train::write_file_atomically(directory / "latest", "new"); });
  }
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
  CHECK(message.find(directory / "latest") != std::string::npos);
  CHECK(message.find("Permission denied") != std::string::npos);
  CHECK(message.find("\nhint: ") != std::string::npos);
  CHECK(train::read_file(directory / "latest") == "old");
}

TEST_CASE("a full disk is the machine's error, names the path and leaves no temporary file") {
  CHECK_THROWS_AS(train::throw_file_error("write", "a/b", ENOSPC), dsmoe::IoError);
  const std::string message =
      message_of<dsmoe::IoError>([] { train::throw_file_error("write", "a/b", ENOSPC); });
  CHECK(message == "cannot write a/b: No space left on device");
}

TEST_CASE("a failed rename leaves no temporary file") {
  const TempDirectory directory;
  std::filesystem::create_directory(directory / "latest");
  CHECK_THROWS_AS(train::write_file_atomically(directory / "latest", "x"), dsmoe::UserError);
  CHECK(files_in(directory.path()) == 1);
}

TEST_CASE("directories are made with their parents, and a file in the way is named") {
  const TempDirectory directory;
  train::make_directories(directory / "a/b/c");
  CHECK(std::filesystem::is_directory(directory / "a/b/c"));
  std::ofstream(directory / "file") << "x";
  CHECK_THROWS_AS(train::make_directories(directory / "file/below"), dsmoe::UserError);
}

TEST_CASE("reading a file that is missing or a directory is a checkpoint error") {
  const TempDirectory directory;
  CHECK_THROWS_AS(train::read_file(directory / "none"), dsmoe::CheckpointError);
  CHECK_THROWS_AS(train::read_file(directory.path()), dsmoe::CheckpointError);
}

TEST_CASE("the directory part of a bare name is the current directory") {
  CHECK(train::directory_of("latest") == ".");
  CHECK(train::directory_of("runs/a/latest") == "runs/a");
}

}  // namespace
