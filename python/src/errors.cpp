// Every failure of the library as the exception of its kind, in the library's words.
#include <nanobind/stl/string.h>

#include <cstring>
#include <exception>

#include "binding.h"
#include "nervus/client.h"
#include "nervus/error.h"

namespace nervus::python {
namespace {

// Words may quote a path, which need not be UTF-8.
nb::object text_of(const char* message) {
  return nb::steal(PyUnicode_DecodeUTF8(message, static_cast<Py_ssize_t>(std::strlen(message)), "backslashreplace"));
}

void raise(const Error& error) {
  const nb::object kinds = nb::module_::import_("nervus.error").attr("BY_KIND");
  const nb::object type = kinds[name_of(error.kind())];
  PyErr_SetObject(type.ptr(), text_of(error.what()).ptr());
}

void raise(const Refused& refused) {
  const nb::object type = nb::module_::import_("nervus.error").attr("Refused");
  const nb::object halt = !refused.halt                 ? nb::none()
                          : *refused.halt == Halt::stop ? nb::object(nb::str("stop"))
                                                        : nb::object(nb::str("hold"));
  const nb::object exception =
      type(text_of(refused.what()), name_of(refused.kind()), text_of(refused.code.c_str()),
           text_of(refused.hint.c_str()), refused.retry_seconds ? nb::cast(*refused.retry_seconds) : nb::none(), halt);
  PyErr_SetObject(type.ptr(), exception.ptr());
}

void translate(const std::exception_ptr& exception, void*) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::bad_cast&) {
    throw;  // nanobind's own, of a wrong argument
  } catch (const Refused& refused) {
    raise(refused);
  } catch (...) {
    raise(current_error());
  }
}

}  // namespace

void bind_errors(nb::module_& module) {
  nb::register_exception_translator(translate);
  module.def(
      "exit_code",
      [](const std::string& kind) {
        for (int code = 0; code <= static_cast<int>(ErrorKind::internal); ++code)
          if (kind == name_of(static_cast<ErrorKind>(code))) return exit_code(static_cast<ErrorKind>(code));
        throw nb::key_error(kind.c_str());
      },
      nb::arg("kind"), "The command line's exit code of a kind of error.");
}

}  // namespace nervus::python
