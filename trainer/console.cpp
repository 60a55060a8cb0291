#include "trainer/console.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <cstdlib>

#include "configs/errors.h"

namespace dsmoe::train {
namespace {

/// `%*` in a pattern: "warning: ", "error: " or nothing.
class Prefix final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    const std::string_view text = message.level == spdlog::level::warn  ? "warning: "
                                  : message.level == spdlog::level::err ? "error: "
                                                                        : "";
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<Prefix>();
  }
};

std::unique_ptr<spdlog::formatter> formatter(const std::string& pattern) {
  auto result = std::make_unique<spdlog::pattern_formatter>();
  result->add_flag<Prefix>('*').set_pattern(pattern);
  return result;
}

template <typename Sink>
std::shared_ptr<Sink> terminal_sink() {
  const bool plain = std::getenv("NO_COLOR") != nullptr;
  auto sink =
      std::make_shared<Sink>(plain ? spdlog::color_mode::never : spdlog::color_mode::automatic);
  sink->set_color(spdlog::level::info, sink->reset);
  sink->set_formatter(formatter("%^%*%$%v"));
  return sink;
}

}  // namespace

class Console::Impl {
 public:
  explicit Impl(const ConsoleOptions& options)
      : out_("out", options.to_stderr
                        ? spdlog::sink_ptr(terminal_sink<spdlog::sinks::ansicolor_stderr_sink_mt>())
                        : terminal_sink<spdlog::sinks::ansicolor_stdout_sink_mt>()),
        err_("err", terminal_sink<spdlog::sinks::ansicolor_stderr_sink_mt>()) {
    if (options.quiet) {
      out_.sinks().front()->set_level(spdlog::level::off);
      err_.sinks().front()->set_level(spdlog::level::err);
    }
    out_.flush_on(spdlog::level::info);
    err_.flush_on(spdlog::level::info);
  }

  void tee_to(const std::string& path) {
    try {
      auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
      file->set_formatter(formatter("%Y-%m-%d %H:%M:%S %*%v"));
      out_.sinks().resize(1);
      err_.sinks().resize(1);
      out_.sinks().push_back(file);
      err_.sinks().push_back(file);
    } catch (const spdlog::spdlog_ex& error) {
      throw UserError(std::string("cannot write ") + path + ": " + error.what() +
                      "\nhint: check who may write there, or choose another run.directory");
    }
  }

  spdlog::logger& out() { return out_; }
  spdlog::logger& err() { return err_; }

 private:
  spdlog::logger out_;
  spdlog::logger err_;
};

Console::Console(const ConsoleOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Console::~Console() = default;

void Console::tee_to(const std::string& path) { impl_->tee_to(path); }

void Console::info(std::string_view text) {
  impl_->out().log(spdlog::level::info, spdlog::string_view_t(text.data(), text.size()));
}

void Console::warn(std::string_view text) {
  impl_->err().log(spdlog::level::warn, spdlog::string_view_t(text.data(), text.size()));
}

void Console::error(std::string_view text) {
  impl_->err().log(spdlog::level::err, spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace dsmoe::train
