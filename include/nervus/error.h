// Errors: every failure that a user can cause is an Error whose message names the file, tensor or
// field, what was expected, what was found, and how to mend it.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

namespace nervus {

// What kind of thing was wrong. The command line maps each kind to one fixed exit code.
enum class ErrorKind {
  usage,        // an option or argument is wrong                          (exit 2)
  input,        // an observation, tensor, image, state or prompt is wrong (exit 3)
  checkpoint,   // a checkpoint, config, tokenizer or statistics file is wrong (exit 4)
  unsupported,  // this build or machine cannot do what was asked          (exit 5)
  io,           // a file cannot be read or written                        (exit 6)
  numeric,      // the model produced a value that is not finite           (exit 7)
  device,       // a GPU has no memory left, or failed                     (exit 8)
  internal,     // a broken promise inside nervus: please report           (exit 70)
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

// The exit code of the command line for an error of this kind.
int exit_code(ErrorKind kind) noexcept;
// "usage", "input", ...
const char* name_of(ErrorKind kind) noexcept;

// Within a catch block: the exception as an Error. One of other libraries, or of memory that is not there, is put into
// words, the same wherever nervus reports it. Inline, because an exception can only be thrown on by the C++ runtime
// that has caught it, and where that is linked statically a program and this library have one each.
inline Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {ErrorKind::unsupported, "not enough memory ('nervus doctor' says how much there is)"};
  } catch (const std::exception& error) {
    return {ErrorKind::internal, std::string("unexpected: ") + error.what()};
  } catch (...) {
    return {ErrorKind::internal, "unexpected: an exception without a message"};
  }
}

}  // namespace nervus
