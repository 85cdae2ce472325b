# Writes wgmma_sm90.cuh: products of a warpgroup, D [64, N] = A [64, K] B [N, K]^T, plus D where `keep`.
#
#   WarpgroupProduct<T, N>::add(d, a, b, keep)   both factors in shared memory (swizzled_tile in tensor_sm90.cuh)
#   RegisterProduct<T, N>::add(d, a, b, keep)    the first in registers, K of 32 bytes (tile_descriptor in sm90.cuh)
#   TransposedProduct<T, N>::add(d, a, b, keep)  the same with B as [K, N], N along a row (swizzled_tile)
#
# The instruction names each of its registers, so that every type and width needs a text of its own.
set(wgmma_shared_types bf16 f16 e4m3 int8)
set(wgmma_shared_widths 64 96 128 144 160 176 192 256)
set(wgmma_register_types bf16 e4m3)
set(wgmma_register_widths 32 48 96)
set(wgmma_transposed_widths 16 64)  # of bf16
# Inputs, the type and constraint of the sums, the instruction's shape and types, and what it asks for behind `keep`:
# signs, and of 16 bits whether a factor is transposed, which only one in shared memory can be.
set(wgmma_bf16 __nv_bfloat16 float f k16.f32.bf16.bf16 ", 1, 1" ", 0")
set(wgmma_f16 __half float f k16.f32.f16.f16 ", 1, 1" ", 0")
set(wgmma_e4m3 __nv_fp8_e4m3 float f k32.f32.e4m3.e4m3 ", 1, 1" "")
set(wgmma_int8 std::int8_t int r k32.s32.s8.s8 "" "")

# "first, first + 1, ..." of `count`, each between `before` and `behind`.
function(nervus_numbered result first count before behind)
  set(items "")
  math(EXPR last "${first} + ${count} - 1")
  foreach(i RANGE ${first} ${last})
    list(APPEND items "${before}${i}${behind}")
  endforeach()
  list(JOIN items ", " items)
  set(${result} "${items}" PARENT_SCOPE)
endfunction()

# One specialisation, appended to `text` of the caller.
function(nervus_append_product template name width)
  list(GET wgmma_${name} 0 inputs)
  list(GET wgmma_${name} 1 sum)
  list(GET wgmma_${name} 2 constraint)
  list(GET wgmma_${name} 3 kind)
  list(GET wgmma_${name} 4 signs)
  list(GET wgmma_${name} 5 transposed)
  math(EXPR sums "${width} / 2")  # of a thread
  nervus_numbered(registers 0 ${sums} "%" "")
  nervus_numbered(operands 0 ${sums} "\"+${constraint}\"(d[" "])")
  if(NOT template STREQUAL "WarpgroupProduct")
    set(parameter "const std::uint32_t (&a)[4]")
    nervus_numbered(factor ${sums} 4 "%" "")
    set(factor "{${factor}}")
    nervus_numbered(given 0 4 "\"r\"(a[" "])")
    math(EXPR b "${sums} + 4")
    if(template STREQUAL "TransposedProduct")
      set(transposed ", 1")
    endif()
    set(behind "${signs}${transposed}")
  else()
    set(parameter "std::uint64_t a")
    set(factor "%${sums}")
    set(given "\"l\"(a)")
    math(EXPR b "${sums} + 1")
    set(behind "${signs}${transposed}${transposed}")
  endif()
  math(EXPR keep "${b} + 1")
  string(APPEND text "
template <>
struct ${template}<${inputs}, ${width}> {
  static __device__ void add(${sum} (&d)[${sums}], ${parameter}, std::uint64_t b, bool keep) {
    asm volatile(
        \"{ .reg .pred p; setp.ne.b32 p, %${keep}, 0;\\n\"
        \"wgmma.mma_async.sync.aligned.m64n${width}${kind} {${registers}}, ${factor}, %${b}, p${behind}; }\\n\"
        : ${operands}
        : ${given}, \"l\"(b), \"r\"(static_cast<int>(keep)));
  }
};
")
  set(text "${text}" PARENT_SCOPE)
endfunction()

function(nervus_write_wgmma path)
  set(text [[
// Written by wgmma_sm90.cmake.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace nervus::cuda {

template <typename T, int N>
struct WarpgroupProduct;
template <typename T, int N>
struct RegisterProduct;
template <typename T, int N>
struct TransposedProduct;
]])
  foreach(name ${wgmma_shared_types})
    foreach(width ${wgmma_shared_widths})
      nervus_append_product(WarpgroupProduct ${name} ${width})
    endforeach()
  endforeach()
  foreach(name ${wgmma_register_types})
    foreach(width ${wgmma_register_widths})
      nervus_append_product(RegisterProduct ${name} ${width})
    endforeach()
  endforeach()
  foreach(width ${wgmma_transposed_widths})
    nervus_append_product(TransposedProduct bf16 ${width})
  endforeach()
  string(APPEND text "\n}  // namespace nervus::cuda\n")
  file(CONFIGURE OUTPUT ${path} CONTENT "@text@" @ONLY)
endfunction()
