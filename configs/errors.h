#pragma once

#include <stdexcept>
#include <string>

namespace dsmoe {

/// The user's input is wrong: `what()` is the whole message, its last line a `hint:`. Exit code 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A key, value or combination in a configuration.
class ConfigError : public UserError {
 public:
  using UserError::UserError;
};

/// A corpus, tokenizer or other data file.
class DataError : public UserError {
 public:
  using UserError::UserError;
};

/// A checkpoint or model directory that cannot be read as it stands.
class CheckpointError : public UserError {
 public:
  using UserError::UserError;
};

/// The machine failed a write, a read or an allocation: operation, path, the system's text. Exit 1.
class IoError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A collective failed: operation, group, rank, size, the library's text. Exit 1, by MPI_Abort.
class CommError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace dsmoe
