# Writes wgmma_sm90.cuh: WarpgroupProduct<T, N>::add(d, a, b, keep), D [64, N] = A [64, K] B [N, K]^T, plus D where
# `keep`, both from shared memory (swizzled_tile in tensor_sm90.cuh). The instruction names each of its registers, so
# that every type and width needs a text of its own.
set(wgmma_widths 64 96 128 144 160 176 192 256)
# Inputs, the type and constraint of the sums, the instruction's shape and types, and what it asks for behind `keep`.
set(wgmma_bf16 __nv_bfloat16 float f k16.f32.bf16.bf16 ", 1, 1, 0, 0")
set(wgmma_f16 __half float f k16.f32.f16.f16 ", 1, 1, 0, 0")
set(wgmma_e4m3 __nv_fp8_e4m3 float f k32.f32.e4m3.e4m3 ", 1, 1")
set(wgmma_int8 std::int8_t int r k32.s32.s8.s8 "")

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
]])
  foreach(name bf16 f16 e4m3 int8)
    list(GET wgmma_${name} 0 inputs)
    list(GET wgmma_${name} 1 sum)
    list(GET wgmma_${name} 2 constraint)
    list(GET wgmma_${name} 3 kind)
    list(GET wgmma_${name} 4 behind)
    foreach(width ${wgmma_widths})
      math(EXPR sums "${width} / 2")  # of a thread
      math(EXPR last "${sums} - 1")
      set(registers "")
      set(operands "")
      foreach(i RANGE ${last})
        list(APPEND registers "%${i}")
        list(APPEND operands "\"+${constraint}\"(d[${i}])")
      endforeach()
      list(JOIN registers ", " registers)
      list(JOIN operands ", " operands)
      math(EXPR b "${sums} + 1")
      math(EXPR keep "${sums} + 2")
      string(APPEND text "
template <>
struct WarpgroupProduct<${inputs}, ${width}> {
  static __device__ void add(${sum} (&d)[${sums}], std::uint64_t a, std::uint64_t b, bool keep) {
    asm volatile(
        \"{ .reg .pred p; setp.ne.b32 p, %${keep}, 0;\\n\"
        \"wgmma.mma_async.sync.aligned.m64n${width}${kind} {${registers}}, %${sums}, %${b}, p${behind}; }\\n\"
        : ${operands}
        : \"l\"(a), \"l\"(b), \"r\"(static_cast<int>(keep)));
  }
};
")
    endforeach()
  endforeach()
  string(APPEND text "\n}  // namespace nervus::cuda\n")
  file(CONFIGURE OUTPUT ${path} CONTENT "@text@" @ONLY)
endfunction()
