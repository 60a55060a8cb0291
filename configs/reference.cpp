#include "configs/cluster_fields.h"
#include "configs/dump.h"
#include "configs/fields.h"
#include "configs/published_keys.h"

namespace dsmoe::config {
namespace {

std::string joined(const std::vector<std::string>& parts, const std::string& separator) {
  std::string out;
  for (const std::string& part : parts) {
    out += part.empty() || out.empty() ? part : separator + part;
  }
  return out;
}

/// `|` ends a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c == '|' ? "\\|" : std::string(1, c);
  }
  return out;
}

std::string symbol_and_unit(const Doc& doc) { return joined({doc.symbol, doc.unit}, ", "); }

/// The default, and that of dsmoe finetune where it is another.
std::string with_finetune_default(const Row<RunConfig>& row) {
  const std::string text = flow_text(row.write(finetune_defaults()));
  if (text == flow_text(row.write(RunConfig{}))) return row.info.default_text;
  return row.info.default_text +
         ", finetune: " + (text == "\"\"" ? "that of model.init_from" : text);
}

/// What is known of a section's keys.
std::vector<RowInfo> infos_of(const Section& section) {
  std::vector<RowInfo> all = infos(section.rows);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].default_text = with_finetune_default(section.rows[i]);
  }
  return all;
}

void markdown_rows(const std::vector<RowInfo>& rows, const std::string& prefix, std::string& out) {
  for (const RowInfo& info : rows) {
    const std::string key = prefix + info.name;
    out += "| `" + key + "` | " + cell(symbol_and_unit(info.doc)) + " | `" +
           cell(info.default_text) + "` | " + cell(info.type + ", " + info.range) + " | " +
           cell(joined({info.doc.meaning, info.doc.why}, ". Why change it: ")) + " |\n";
    markdown_rows(info.nested, key + ".", out);
  }
}

void help_rows(const std::vector<RowInfo>& rows, const std::string& prefix, std::string& out) {
  for (const RowInfo& info : rows) {
    const std::string key = prefix + info.name;
    out += key + " = " + info.default_text + "\n    " + info.type + ", " + info.range;
    const std::string extra = symbol_and_unit(info.doc);
    out += (extra.empty() ? "" : "  [" + extra + "]") + "\n    " + info.doc.meaning + "\n";
    out += info.doc.why.empty() ? "" : "    why: " + info.doc.why + "\n";
    help_rows(info.nested, key + ".", out);
  }
}

constexpr const char* kTableHead =
    "| key | symbol, unit | default | type, range | meaning |\n|---|---|---|---|---|\n";
constexpr const char* kClusterTitle =
    "a file of configs/clusters/, for dsmoe inspect --cluster; dsmoe bench cluster writes one.";

std::string published_markdown(KeyKind kind) {
  std::string out;
  for (const PublishedKey& key : published_keys()) {
    if (key.kind == kind) {
      out += (out.empty() ? "`" : ", `") + key.name + "`";
      out += key.allowed.empty() ? "" : " (" + joined_words(key.allowed) + ")";
    }
  }
  return out;
}

}  // namespace

std::string help_text() {
  std::string out;
  for (const Section& section : sections()) {
    out += "# " + section.name + ": " + section.title + "\n";
    help_rows(infos_of(section), section.name + ".", out);
    out += "\n";
  }
  out += std::string("# cluster file: ") + kClusterTitle + "\n";
  help_rows(infos(cluster_rows()), "", out);
  return out;
}

std::string reference_markdown() {
  std::string out;
  for (const Section& section : sections()) {
    out += "### " + section.name + "\n" + section.title + "\n\n";
    out += kTableHead;
    markdown_rows(infos_of(section), section.name + ".", out);
    out += "\n";
  }
  out += std::string("### Cluster files\nNot of a run: ") + kClusterTitle + "\n\n" + kTableHead;
  markdown_rows(infos(cluster_rows()), "", out);
  out += "\n";
  out +=
      "### Other keys of a published config.json\nChecked, since only one value is implemented: ";
  out += published_markdown(KeyKind::kChecked) + ".\n\nWithout effect, answered with a notice: " +
         published_markdown(KeyKind::kInformational) + ".\n";
  return out;
}

}  // namespace dsmoe::config
