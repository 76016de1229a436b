// 16-bit floats: their conversions to and from float, one at a time and as the two of a 32-bit word. Of cuda_fp16.h and
// cuda_bf16.h kernels over rows need no more, and the compilers would read a third more with them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace rows {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(Half v) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(v.bits));
  return wide;
}
// A bfloat16 is the upper half of a float: no conversion instruction is needed.
__device__ __forceinline__ float to_float(BFloat16 v) { return __uint_as_float(static_cast<uint32_t>(v.bits) << 16); }

// The bits of a float rounded to those of a bfloat16, to the nearest and to even, for hardware without an instruction for it.
__host__ __device__ constexpr uint16_t rounded_to_bfloat16(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

template <typename T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
  return v;
}
template <>
__device__ __forceinline__ Half from_float<Half>(float v) {
  Half narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(v));
  return narrow;
}
template <>
__device__ __forceinline__ BFloat16 from_float<BFloat16>(float v) {
  BFloat16 narrow;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(v));
#else
  narrow.bits = rounded_to_bfloat16(__float_as_uint(v));
#endif
  return narrow;
}

// The floats of a word, whose lower half is the first element. The last argument says what its halves are.
__device__ __forceinline__ float2 unpack_word(uint32_t word, Half) {
  float2 wide;
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.f32.f16 %0, low;\n}" : "=f"(wide.x) : "r"(word));
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.f32.f16 %0, high;\n}" : "=f"(wide.y) : "r"(word));
  return wide;
}
__device__ __forceinline__ float2 unpack_word(uint32_t word, BFloat16) {
  return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
}

__device__ __forceinline__ uint32_t pack_word(float low, float high, Half) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return static_cast<uint32_t>(from_float<Half>(high).bits) << 16 | from_float<Half>(low).bits;
#endif
}
__device__ __forceinline__ uint32_t pack_word(float low, float high, BFloat16) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return static_cast<uint32_t>(from_float<BFloat16>(high).bits) << 16 | from_float<BFloat16>(low).bits;
#endif
}

// Whether there are instructions for `max_of_words`: the larger of each of the two elements of two words, of a number and a NaN
// the number.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
constexpr bool kHasMaxOfWords = true;
#else
constexpr bool kHasMaxOfWords = false;
#endif
__device__ __forceinline__ uint32_t max_of_words(uint32_t a, uint32_t b, Half) {
  uint32_t larger;
  asm("max.f16x2 %0, %1, %2;" : "=r"(larger) : "r"(a), "r"(b));
  return larger;
}
__device__ __forceinline__ uint32_t max_of_words(uint32_t a, uint32_t b, BFloat16) {
  uint32_t larger;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(larger) : "r"(a), "r"(b));
  return larger;
}

// Calls `run` with an element of the dtype that `dtype` stands for; the order is that of `torch-ext/tensors.h`.
enum DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

template <typename Run>
cudaError_t with_dtype(int dtype, Run run) {
  switch (dtype) {
    case kFloat32: return run(float{});
    case kFloat16: return run(Half{});
    default: return run(BFloat16{});
  }
}

}  // namespace rows
