#include "data/tokenizer.h"

#include "configs/errors.h"
#include "data/byte_tokenizer.h"

namespace dsmoe::data {

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  if (name == "byte") {
    return std::make_unique<ByteTokenizer>();
  }
  throw ConfigError("data.tokenizer (" + name +
                    ") is not a known tokenizer\nhint: this version has `byte`");
}

}  // namespace dsmoe::data
