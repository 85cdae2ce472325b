// The extension module nervus._native.
#include <nanobind/stl/string.h>

#include "binding.h"

namespace nervus::python {

std::string describe(nb::handle self) {
  const nb::object type = self.attr("__class__");
  std::string text = nb::cast<std::string>(type.attr("__name__")) + "(";
  const char* comma = "";
  for (const nb::handle entry : type.attr("__dict__")) {
    const auto name = nb::cast<std::string>(entry);
    if (name.starts_with("_") || PyCallable_Check(nb::getattr(self, entry).ptr()) != 0) continue;
    text += comma + name + "=" + nb::cast<std::string>(nb::repr(nb::getattr(self, entry)));
    comma = ", ";
  }
  return text + ")";
}

}  // namespace nervus::python

NB_MODULE(_native, module) {
  module.doc() = "include/nervus, one to one; use the package nervus.";
  nervus::python::bind_errors(module);
  nervus::python::bind_values(module);
  nervus::python::bind_options(module);
  nervus::python::bind_policy(module);
  nervus::python::bind_server(module);
  nervus::python::bind_client(module);
  nervus::python::bind_tools(module);
  module.def(
      "version", [] { return std::string(nervus::version()); }, "The library's version, as \"0.1.0\".");
}
