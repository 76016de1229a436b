// What CPU kernels over rows share: 16-bit floats, and one clone of a function per instruction set.
#pragma once

#include <cstdint>
#include <cstring>

// The compiler makes a version for each instruction set and the loader picks one, so that one binary runs everywhere.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PER_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PER_CPU
#endif
#define INLINE inline __attribute__((always_inline))
// Of a lambda, which else would be compiled for the oldest CPU only.
#define INLINED __attribute__((always_inline))

namespace rows {

enum DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

INLINE float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
INLINE uint32_t as_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

INLINE float to_float(float v) { return v; }
INLINE float to_float(BFloat16 v) { return as_float(static_cast<uint32_t>(v.bits) << 16); }
// Without a branch, so that it vectorises: the exponent is moved over and rebiased by a multiplication, which is exact for
// subnormal numbers too; infinity and NaN get the exponent of a float.
INLINE float to_float(Half v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(v.bits & 0x7fffu) << 13;
  const uint32_t finite = as_bits(as_float(rest) * as_float(0x77800000u));  // 2^112
  const uint32_t special = rest | 0x7f800000u;
  return as_float(sign | (rest >= 0x0f800000u ? special : finite));
}

template <typename T>
INLINE T from_float(float v);
template <>
INLINE float from_float<float>(float v) {
  return v;
}
// Both round to the nearest, ties to even.
template <>
INLINE BFloat16 from_float<BFloat16>(float v) {
  const uint32_t bits = as_bits(v);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x40u;
  return {static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
}
template <>
INLINE Half from_float<Half>(float v) {
  const uint32_t bits = as_bits(v);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Adding 2^-1 aligns a number below 2^-14 so that the float addition itself rounds it to a subnormal's last place.
  const uint32_t subnormal = as_bits(as_float(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  return {static_cast<uint16_t>(sign | (magnitude >= 0x477ff000u ? special : finite))};
}

// e^x to two units in the last place, without a branch or a call, so that it vectorises: x = k ln 2 + r, a polynomial in r, and k
// put into the exponent. Below -87.3 it gives 0, above 88.7 infinity; NaN stays.
INLINE float exp(float x) {
  const float bounded = x < -87.3f ? -87.3f : x > 88.8f ? 88.8f : x;
  const float k = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum is rounded to a whole number
  const float whole = k - 12582912.0f;
  const float r = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // In two steps, since 2^128 is no float but e^88.72 is.
  const int32_t power = static_cast<int32_t>(as_bits(k) - 0x4b400000u), half = power >> 1;
  const float value =
      p * as_float(static_cast<uint32_t>(half + 127) << 23) * as_float(static_cast<uint32_t>(power - half + 127) << 23);
  return x < -87.3f ? 0.0f : x > 88.7228394f ? as_float(0x7f800000u) : x == x ? value : x;
}

// The sum of term(0) to term(n - 1). Four sums side by side: in a single one each addition waits for the one before.
template <typename Term>
INLINE float sum(int64_t n, Term term) {
  const int64_t quarter = n / 4;
  float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
#pragma omp simd reduction(+ : a, b, c, d)
  for (int64_t i = 0; i < quarter; ++i) {
    a += term(i);
    b += term(quarter + i);
    c += term(2 * quarter + i);
    d += term(3 * quarter + i);
  }
  for (int64_t i = 4 * quarter; i < n; ++i) d += term(i);
  return (a + b) + (c + d);
}

// Where the rows of a tensor lie: row r starts at (r / inner) * outer_stride + (r % inner) * inner_stride elements.
struct Layout {
  int64_t rows;
  int64_t inner;
  int64_t outer_stride;
  int64_t inner_stride;

  // From the four numbers in this order, as the binding passes them.
  static Layout of(const int64_t* four) { return {four[0], four[1], four[2], four[3]}; }

  int64_t start(int64_t row) const { return row / inner * outer_stride + row % inner * inner_stride; }
};

// Elements below which a second thread costs more than it brings.
constexpr int64_t kWorthThreads = 16384;

}  // namespace rows
