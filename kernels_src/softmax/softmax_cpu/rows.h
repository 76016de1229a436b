// What CPU kernels over rows share: 16-bit floats, sums, exponentials, and one clone of a function per instruction set.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

// The compiler makes a version for each instruction set and the loader picks one, so that one binary runs everywhere.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PER_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define HAS_CLONES 1
#else
#define PER_CPU
#define HAS_CLONES 0
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
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  // One NaN for all, since keeping their bits takes the compiler through narrow vectors and back.
  return {static_cast<uint16_t>((v == v ? rounded : 0x7fc00000u) >> 16)};
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

// Whole rows of 16-bit floats as floats, and back.
PER_CPU static void widen_each(float* out, const BFloat16* in, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]);
}
PER_CPU static void widen_each(float* out, const Half* in, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]);
}
PER_CPU static void narrow_each(BFloat16* out, const float* in, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<BFloat16>(in[i]);
}
PER_CPU static void narrow_each(Half* out, const float* in, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<Half>(in[i]);
}

#if HAS_CLONES
// x86 converts float16 with an instruction of its own, which compilers before GCC 14 use for single numbers only.
typedef float EightFloats __attribute__((vector_size(32)));
typedef short EightHalves __attribute__((vector_size(16)));

__attribute__((target("avx,f16c"))) static void widen_f16c(float* out, const Half* in, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    EightHalves narrow;
    std::memcpy(&narrow, in + i, sizeof narrow);
    const EightFloats wide = __builtin_ia32_vcvtph2ps256(narrow);
    std::memcpy(out + i, &wide, sizeof wide);
  }
  for (; i < n; ++i) out[i] = to_float(in[i]);
}
__attribute__((target("avx,f16c"))) static void narrow_f16c(Half* out, const float* in, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    EightFloats wide;
    std::memcpy(&wide, in + i, sizeof wide);
    const EightHalves narrow = __builtin_ia32_vcvtps2ph256(wide, 0);  // 0: to the nearest, ties to even
    std::memcpy(out + i, &narrow, sizeof narrow);
  }
  for (; i < n; ++i) out[i] = from_float<Half>(in[i]);
}
#endif

inline void widen(float* out, const BFloat16* in, int64_t n) { widen_each(out, in, n); }
inline void narrow(BFloat16* out, const float* in, int64_t n) { narrow_each(out, in, n); }
inline void widen(float* out, const Half* in, int64_t n) {
#if HAS_CLONES
  if (__builtin_cpu_supports("f16c")) return widen_f16c(out, in, n);
#endif
  widen_each(out, in, n);
}
inline void narrow(Half* out, const float* in, int64_t n) {
#if HAS_CLONES
  if (__builtin_cpu_supports("f16c")) return narrow_f16c(out, in, n);
#endif
  narrow_each(out, in, n);
}

// Room for `n` numbers of T as floats, which kernels compute with. It takes none for floats: those stay where they are. One
// thread's own.
template <typename T>
class Floats {
 public:
  explicit Floats(int64_t n) : room_(new float[n]) {}
  // `count` numbers; null stays null.
  const float* load(const T* from, int64_t count) {
    if (from == nullptr) return nullptr;
    widen(room_.get(), from, count);
    return room_.get();
  }
  // Where to put the numbers that `store` brings to `to`. It may be what was loaded.
  float* result(T*) { return room_.get(); }
  void store(T* to, int64_t count) { narrow(to, room_.get(), count); }

 private:
  std::unique_ptr<float[]> room_;
};
template <>
class Floats<float> {
 public:
  explicit Floats(int64_t) {}
  const float* load(const float* from, int64_t) { return from; }
  float* result(float* to) { return to; }
  void store(float*, int64_t) {}
};

// e^x of an x of 0 and below to two units in the last place, without a branch or a call, so that it vectorises: x = k ln 2 + r,
// a polynomial in r, and k put into the exponent. Below -87.3 it gives 0; NaN stays.
INLINE float exp_below(float x) {
  const float k = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum is rounded to a whole number
  const float whole = k - 12582912.0f;
  const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The low bits of k are the exponent already.
  const float value = p * as_float((as_bits(k) << 23) + 0x3f800000u);
  return x < -87.3f ? 0.0f : value;
}

// x / (1 + e^-u), by e^-|u|, which is never too large.
INLINE float times_logistic(float x, float u) {
  const float small = exp_below(u < 0.0f ? u : -u);
  return (u < 0.0f ? x * small : x) / (1.0f + small);
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

// The mean of a row is `about + missed`: of large numbers that differ little, nothing is lost if one is subtracted, then the
// other.
struct Spread {
  float about, missed, variance;
};
INLINE Spread spread_around(float about, const float* x, int64_t n) {
  // Where differences have a mean, each addition to a long sum of them may be rounded to the same side.
  constexpr int64_t kAtOnce = 4096;
  double differences = 0.0, squares = 0.0;
  for (int64_t first = 0; first < n; first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - first), half = count / 2;
    const float *one = x + first, *other = one + half;
    float a = 0.0f, b = 0.0f, aa = 0.0f, bb = 0.0f;
#pragma omp simd reduction(+ : a, b, aa, bb)
    for (int64_t i = 0; i < half; ++i) {
      const float to_one = one[i] - about, to_other = other[i] - about;
      a += to_one;
      b += to_other;
      aa += to_one * to_one;
      bb += to_other * to_other;
    }
    const float last = count % 2 != 0 ? one[count - 1] - about : 0.0f;
    differences += a + b + last;
    squares += aa + bb + last * last;
  }
  const double missed = differences / static_cast<double>(n), variance = squares / static_cast<double>(n) - missed * missed;
  return {about, static_cast<float>(missed), static_cast<float>(variance)};
}
// In one reading as a rule: differences from the mean of the first few tell the spread as well as those from the mean of all,
// unless the first few lie apart.
INLINE Spread spread_of(const float* x, int64_t n) {
  const int64_t few = std::min<int64_t>(n, 8);
  float total = 0.0f;
  for (int64_t i = 0; i < few; ++i) total += x[i];
  // With no more digits than a float16 has, differences of 16-bit floats from it are exact.
  const float guess = as_float(as_bits(total / static_cast<float>(few)) & 0xffffe000u);
  Spread spread = spread_around(guess, x, n);
  if (spread.missed * spread.missed > spread.variance) spread = spread_around(guess + spread.missed, x, n);
  // Rounding may bring that of equal numbers below 0; NaN stays.
  if (spread.variance < 0.0f) spread.variance = 0.0f;
  return spread;
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

// Calls `some(first, last)` so that all of `count` rows of `n` elements are taken, each call on a thread of its own. With one
// barrier, since where cores are busy each one waits for a turn; without any for few elements, of which it would take as long.
template <typename Some>
void in_parallel(int64_t count, int64_t n, Some some) {
  const int64_t parts = std::min(count, 1 + count * n / kWorthThreads);
  if (parts == 1) return some(int64_t{0}, count);
#pragma omp parallel
  {
    const int64_t threads = std::min<int64_t>(omp_get_num_threads(), parts), thread = omp_get_thread_num();
    if (thread < threads) some(count * thread / threads, count * (thread + 1) / threads);
  }
}

}  // namespace rows
