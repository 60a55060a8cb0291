#include "trainer/table.h"

#include "tests/support/catch.h"

namespace {

TEST_CASE("a table aligns its values over all sections") {
  dsmoe::train::Table table;
  table.section("model");
  table.row("parameters", "3,712,512");
  table.row("active", "1,204,224");
  table.section("data");
  table.row("train", "a.jsonl\nb.jsonl");
  CHECK(table.text() ==
        "model\n"
        "  parameters  3,712,512\n"
        "  active      1,204,224\n"
        "\n"
        "data\n"
        "  train       a.jsonl\n"
        "              b.jsonl");
}

TEST_CASE("a table may be empty or without titles") {
  dsmoe::train::Table table;
  CHECK(table.text().empty());
  table.row("key", "value");
  CHECK(table.text() == "  key  value");
}

}  // namespace
