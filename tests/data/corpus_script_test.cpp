#include "tests/data/files.h"
#include "tests/support/catch.h"
#include "tests/support/python.h"

namespace dsmoe::data {
namespace {

TEST_CASE("scripts/corpus is deterministic, splits by hash, and leaves what is there") {
  if (test::skip_without_python()) return;
  const auto result = test::run_python("data/corpus_script_check.py", "");
  INFO(result.output);
  CHECK(result.exit_code == 0);
  CHECK(test::has(result.output, "as promised"));
}

}  // namespace
}  // namespace dsmoe::data
