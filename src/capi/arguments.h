// What a C program passes in, checked and as the C++ interface takes it.
#pragma once

#include <cstring>
#include <string>

#include "nervus/error.h"
#include "nervus/nervus.h"
#include "nervus/policy.h"

namespace nervus::capi {

// Throws Error(usage): "policy: expected the address of a pointer, found NULL".
void require(const void* pointer, const char* name, const char* expected);

// The bytes of a struct when it was first released: stays at that number when the struct grows.
template <typename Struct>
constexpr std::size_t first_size = sizeof(Struct);

// A caller's struct of any release: what it lacks is zero, and what only a later release knows must be zero. Throws
// Error(usage).
void read_struct(const void* from, void* to, std::size_t known, std::size_t first, const char* name);

template <typename Struct>
Struct read(const Struct* from, const char* name) {
  Struct to{};
  read_struct(from, &to, sizeof(Struct), first_size<Struct>, name);
  return to;
}

// Fills a caller's struct of any release with as much of `from` as it has room for, and with zero what lies beyond; its
// size stays. Throws Error(usage).
void write_struct(void* to, const void* from, std::size_t known, std::size_t first, const char* name);

template <typename Struct>
void write(Struct* to, const Struct& from, const char* name) {
  write_struct(to, &from, sizeof(Struct), first_size<Struct>, name);
}

// These throw Error(usage) for pointers, sizes and numbers that cannot be meant, Error(input) for images and tensors
// that are wrong.
LoadOptions load_options(const nervus_load_options* options);
InferOptions infer_options(const nervus_infer_options* options);
Observation observation(const nervus_observation* observation);
Inputs inputs(const nervus_tensor* tensors, std::size_t count);

}  // namespace nervus::capi
