// How far a backend may be from the float64 references of tests/reference: one table.
#pragma once

#include <string_view>

#include "backends/linear.h"

namespace nervus {

enum class Metric {
  element,  // largest |y - r| / |r| (both below `floor` in size: equal enough)
  tensor,   // largest |y - r| / largest |r|
  code,     // of 8 bits: the share of elements that differ, none by more than one code
  coarse,   // of e4m3, from bf16: the same of those that differ by more than an ulp of bf16 of the largest |r|
};

struct Tolerance {
  std::string_view op;
  DType output;
  Metric metric;
  double bound;
  std::string_view reason;
};

// Below this size an element counts as zero: float32's subnormal range and what products of small factors lose there.
constexpr double tolerance_floor = 1e-30;

constexpr Tolerance tolerances[] = {
    {"linear", DType::f32, Metric::tensor, 3e-6, "float32 sums of up to 11008 products of mixed signs"},
    {"linear", DType::bf16, Metric::tensor, 8e-3, "an ulp of bf16, 2^-7: a value between two may round either way"},
    {"linear_add", DType::f32, Metric::tensor, 3e-6, "as linear"},
    {"linear_e4m3", DType::f32, Metric::tensor, 1e-2, "a matrix unit cuts to 14 bits, 344 times in 11008 products"},
    {"linear_e4m3", DType::bf16, Metric::tensor, 1.8e-2, "the same, and an ulp of bf16"},
    {"linear_add_e4m3", DType::f32, Metric::tensor, 1e-2, "as linear_e4m3"},
    {"linear_int8", DType::f32, Metric::tensor, 1e-6, "sums are exact; a scale an output and one a row"},
    {"linear_int8", DType::bf16, Metric::tensor, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"linear_add_int8", DType::f32, Metric::tensor, 1e-6, "as linear_int8"},
    {"rms_norm", DType::i8, Metric::code, 2e-3, "a float32 error crosses the middle between two codes"},
    {"gather_rows", DType::i8, Metric::code, 1e-3, "times 1 / scale in place of over scale"},
    {"row_scales", DType::f32, Metric::element, 2e-6, "the largest of a row, of values within rms_norm's tolerance"},
    {"rms_norm", DType::f32, Metric::element, 1e-6, "a float32 sum of squares, all positive"},
    {"rms_norm", DType::bf16, Metric::element, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"rms_norm_shift", DType::f32, Metric::tensor, 1e-6, "the shift may cancel"},
    {"rms_norm_shift", DType::bf16, Metric::tensor, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"rms_norm", DType::e4m3, Metric::code, 1e-3, "a float32 error crosses the middle between two codes"},
    {"rms_norm", DType::f16, Metric::tensor, 1e-3, "an ulp of f16, 2^-10"},
    {"swiglu", DType::f16, Metric::tensor, 1e-3, "as rms_norm"},
    {"gelu", DType::f16, Metric::tensor, 1e-3, "as rms_norm"},
    {"cut_patches", DType::f16, Metric::element, 0.0, "rounding is exact, and so is a power of two"},
    {"gather_rows", DType::f16, Metric::element, 0.0, "rounding is exact, and so is a power of two"},
    {"attention", DType::f16, Metric::tensor, 8e-3, "probabilities in bf16"},
    {"gate_up", DType::f16, Metric::tensor, 1e-3, "as rms_norm"},
    {"split_rope", DType::f32, Metric::tensor, 3e-7, "two products and a difference, which may cancel"},
    {"split_rope", DType::bf16, Metric::tensor, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"attention", DType::f32, Metric::tensor, 3e-6, "float32 scores and sums over the keys"},
    {"attention", DType::bf16, Metric::tensor, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"qkv", DType::bf16, Metric::tensor, 8e-3, "rows scaled in bf16 before the product, then an ulp of bf16"},
    {"gate_up", DType::bf16, Metric::tensor, 8e-3, "as qkv"},
    {"gate_up", DType::e4m3, Metric::coarse, 0.1, "as qkv, and a code for what crosses the middle between two"},
    {"qkv_e4m3", DType::bf16, Metric::tensor, 1e-2, "as qkv, from the same codes, of sums cut to 14 bits"},
    {"gate_up_e4m3", DType::bf16, Metric::tensor, 1.2e-2, "as qkv_e4m3, of two sums"},
    {"gate_up_e4m3", DType::e4m3, Metric::coarse, 0.1, "as gate_up"},
    {"fused_linear_add", DType::f32, Metric::tensor, 1e-5, "float32 sums by the matrix unit, which cuts low bits off"},
    {"wide", DType::bf16, Metric::tensor, 1.5e-2, "rows in bf16, then two roundings to it where ops are apart"},
    {"wide_e4m3", DType::bf16, Metric::tensor, 2.5e-2, "the same, with rows whose codes differ by one here and there"},
    {"wide_linear_add", DType::f32, Metric::tensor, 3e-5, "as fused_linear_add, of up to 11008 products in one sum"},
    {"squares", DType::f32, Metric::element, 3e-6, "float32 sums of 32 values, all positive"},
    {"attention", DType::e4m3, Metric::coarse, 0.1, "probabilities in bf16, whose ulp is a 16th of the least step"},
    {"swiglu", DType::f32, Metric::element, 1e-6, "an exponential within 2 ulp, a quotient and two products"},
    {"swiglu", DType::bf16, Metric::element, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"swiglu", DType::e4m3, Metric::code, 1e-3, "as rms_norm"},
    {"silu", DType::f32, Metric::element, 1e-6, "as swiglu"},
    {"silu", DType::bf16, Metric::element, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"gelu", DType::f32, Metric::element, 1e-6, "a polynomial and an exponential, without cancellation"},
    {"gelu", DType::bf16, Metric::element, 8e-3, "an ulp of bf16: a value between two may round either way"},
    {"gelu", DType::e4m3, Metric::code, 1e-3, "as rms_norm"},
    {"gather_rows", DType::e4m3, Metric::code, 1e-3, "times 1 / scale in place of over scale"},
    {"cut_patches", DType::f32, Metric::element, 0.0, "levels are copied"},
    {"cut_patches", DType::bf16, Metric::element, 0.0, "rounding is exact: to nearest even"},
    {"gather_rows", DType::f32, Metric::element, 0.0, "copies are exact"},
    {"gather_rows", DType::bf16, Metric::element, 0.0, "rounding is exact: to nearest even"},
    {"euler_step", DType::f32, Metric::tensor, 1e-7, "one product and one difference"},
};

}  // namespace nervus
