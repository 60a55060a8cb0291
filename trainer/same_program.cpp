#include "trainer/same_program.h"

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

#include "configs/errors.h"
#include "data/fingerprint.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/loaded_libraries.h"
#include "trainer/placement.h"

namespace dsmoe::train {
namespace {

/// What is compared, by what it is called in a message, to what tells it from others.
using Parts = std::map<std::string, std::string>;

/// As they were given, in one line.
std::string own_arguments() {
  std::ifstream file("/proc/self/cmdline");  // which tells no size
  std::string text(std::istreambuf_iterator<char>(file), {});
  text.erase(0, text.find('\0') + 1);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text;
}

Parts own_parts() {
  data::Fingerprint program;
  program.add(read_file("/proc/self/exe"));
  Parts parts{{"program file", program.hex()}, {"list of arguments", own_arguments()}};
  for (const auto& [name, id] : loaded_libraries()) parts["build of " + name] = id;
  return parts;
}

std::string to_text(const Parts& parts) {
  std::string text;
  for (const auto& [name, value] : parts) text += name + "\t" + value + "\n";
  return text;
}

Parts from_text(const std::string& text) {
  Parts parts;
  std::istringstream lines(text);
  for (std::string name, value; std::getline(lines, name, '\t') && std::getline(lines, value);) {
    parts[name] = value;
  }
  return parts;
}

/// "" where there is none.
std::string value_of(const Parts& parts, const std::string& name) {
  const auto found = parts.find(name);
  return found == parts.end() ? "" : found->second;
}

/// The first that both do not have alike, the program before all else; "" where there is none.
std::string first_difference(const Parts& mine, const Parts& theirs) {
  Parts all = mine;
  all.insert(theirs.begin(), theirs.end());
  std::string first;
  for (const auto& [name, value] : all) {
    if (value_of(mine, name) == value_of(theirs, name)) continue;
    if (first.empty() || name == "program file") first = name;
  }
  return first;
}

}  // namespace

void check_same_program(parallel::Communicator& world) {
  if (world.size() == 1) return;
  const Parts mine = own_parts();
  std::string text = to_text(mine), host = host_name();
  broadcast_text(text, world);
  broadcast_text(host, world);
  agree(world, [&] {
    const Parts first = from_text(text);
    const std::string other = first_difference(mine, first);
    if (other.empty()) return;
    const auto shown = [&](const Parts& parts) {
      const std::string value = value_of(parts, other);
      return value.empty() ? "none" : value;
    };
    throw ConfigError(
        "rank " + std::to_string(world.rank()) + " on " + host_name() + " has another " + other +
        " than rank 0 on " + host + ": " + shown(mine) + ", " + shown(first) +
        "\nhint: start the same build, with the same libraries and arguments, on every host");
  });
}

}  // namespace dsmoe::train
