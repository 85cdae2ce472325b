// What the parts of the module nervus._native share: it binds include/nervus one to one, the package makes it Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "nervus/array.h"
#include "nervus/policy.h"

namespace nervus::python {

namespace nb = nanobind;

// An array of numpy, torch or jax on the host, of any type and shape.
using AnyArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

// A copy of its elements. Throws Error(input) that begins with `name` for a type that nervus has not.
Array array_from(const AnyArray& given, const std::string& name);
// As a numpy array, bf16 and e4m3 widened to float32, which numpy lacks.
nb::object to_numpy(Array array);
std::map<std::string, Array> arrays_from(const std::map<std::string, AnyArray>& given);

// A policy that several threads may ask: their calls wait for each other, without the interpreter's lock. So does its
// end, which may wait for a load on the same GPU, whose progress may need the interpreter.
struct SharedPolicy {
  std::unique_ptr<Policy> policy;
  std::mutex mutex;

  explicit SharedPolicy(Policy loaded) : policy(std::make_unique<Policy>(std::move(loaded))) {}
  ~SharedPolicy() {
    const nb::gil_scoped_release released;
    policy.reset();
  }
  // `call(policy)` without the interpreter's lock.
  template <typename Call>
  auto run(Call&& call) {
    const nb::gil_scoped_release released;
    const std::lock_guard locked(mutex);
    return call(*policy);
  }
};

// "PolicyInfo(family='lingbot-vla', ...)": the fields of a bound struct.
std::string describe(nb::handle self);

void bind_errors(nb::module_& module);
void bind_values(nb::module_& module);
void bind_options(nb::module_& module);
void bind_policy(nb::module_& module);
void bind_server(nb::module_& module);
void bind_client(nb::module_& module);
void bind_tools(nb::module_& module);

}  // namespace nervus::python
