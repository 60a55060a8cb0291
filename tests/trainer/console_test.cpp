#include "trainer/console.h"

#include <unistd.h>

#include <cstdio>
#include <regex>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"

namespace {

using dsmoe::test::TempDirectory;
using dsmoe::train::Console;

/// Sends a file descriptor to a file for a scope.
class Redirect {
 public:
  Redirect(int descriptor, const std::string& path) : descriptor_(descriptor) {
    std::fflush(nullptr);
    saved_ = ::dup(descriptor);
    FILE* file = std::fopen(path.c_str(), "w");
    ::dup2(::fileno(file), descriptor);
    std::fclose(file);
  }
  ~Redirect() {
    std::fflush(nullptr);
    ::dup2(saved_, descriptor_);
    ::close(saved_);
  }

 private:
  int descriptor_;
  int saved_;
};

struct Shown {
  std::string out;
  std::string err;
};

template <typename Function>
Shown shown(const TempDirectory& directory, const Function& function) {
  {
    const Redirect out(1, directory / "out");
    const Redirect err(2, directory / "err");
    function();
  }
  return {dsmoe::train::read_file(directory / "out"), dsmoe::train::read_file(directory / "err")};
}

void say_all(Console& console) {
  console.info("plain {} text");
  console.warn("careful");
  console.error("broken\nhint: mend it");
}

TEST_CASE("the console sends information to stdout, the rest to stderr, without colour") {
  const TempDirectory directory;
  const Shown text = shown(directory, [] {
    Console console;
    say_all(console);
  });
  CHECK(text.out == "plain {} text\n");
  CHECK(text.err == "warning: careful\nerror: broken\nhint: mend it\n");
}

TEST_CASE("under --json the console leaves stdout alone") {
  const TempDirectory directory;
  const Shown text = shown(directory, [] {
    Console console({/*quiet=*/false, /*to_stderr=*/true});
    say_all(console);
  });
  CHECK(text.out.empty());
  CHECK(text.err.rfind("plain {} text\nwarning: careful\n", 0) == 0);
}

TEST_CASE("a quiet console shows errors only, and its file has everything with the time") {
  const TempDirectory directory;
  const Shown text = shown(directory, [&] {
    Console console({/*quiet=*/true, /*to_stderr=*/false});
    console.tee_to(directory / "log.txt");
    say_all(console);
  });
  CHECK(text.out.empty());
  CHECK(text.err.rfind("error: broken\n", 0) == 0);
  const std::string log = dsmoe::train::read_file(directory / "log.txt");
  CHECK(std::regex_search(log, std::regex(R"(^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d plain \{\} text\n)")));
  CHECK(log.find(" warning: careful\n") != std::string::npos);
  CHECK(log.find(" error: broken\nhint: mend it\n") != std::string::npos);
}

TEST_CASE("the log file of an earlier run goes on") {
  const TempDirectory directory;
  (void)shown(directory, [&] {
    for (const char* text : {"first", "second"}) {
      Console console;
      console.tee_to(directory / "log.txt");
      console.info(text);
    }
  });
  const std::string log = dsmoe::train::read_file(directory / "log.txt");
  CHECK(log.find("first") < log.find("second"));
  CHECK(log.find("second") != std::string::npos);
}

TEST_CASE("a log file that cannot be written is the user's error") {
  const TempDirectory directory;
  Console console;
  CHECK_THROWS_AS(console.tee_to(directory.path()), dsmoe::UserError);
}

}  // namespace
