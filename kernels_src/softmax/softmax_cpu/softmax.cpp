// Softmax over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler; sums are in float.
#include <cmath>
#include <type_traits>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// Powers that are held as floats between their sum and their rounding, 32 KB of stack; of longer rows they are computed twice.
constexpr int64_t kHeld = 8192;

template <typename T>
INLINE void normalise(T* out, const T* x, int64_t n) {
  float maximum = -INFINITY;
#pragma omp simd reduction(max : maximum)
  for (int64_t i = 0; i < n; ++i) maximum = rows::to_float(x[i]) > maximum ? rows::to_float(x[i]) : maximum;
  const auto power = [=](int64_t i) INLINED { return rows::exp(rows::to_float(x[i]) - maximum); };
  float held[std::is_same_v<T, float> ? 1 : kHeld];
  float* powers = held;
  if constexpr (std::is_same_v<T, float>) {
    powers = out;
  } else if (n > kHeld) {
    const float inverse = 1.0f / rows::sum(n, power);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = rows::from_float<T>(power(i) * inverse);
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) powers[i] = power(i);
  const float inverse = 1.0f / rows::sum(n, [=](int64_t i) INLINED { return powers[i]; });
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = rows::from_float<T>(powers[i] * inverse);
}

PER_CPU void row_float32(float* out, const float* x, int64_t n) { normalise(out, x, n); }
PER_CPU void row_float16(Half* out, const Half* x, int64_t n) { normalise(out, x, n); }
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* x, int64_t n) { normalise(out, x, n); }

template <typename T, typename Row>
void all_rows(Row row_function, void* out, const void* x, const rows::Layout& layout, int64_t n) {
#pragma omp parallel for if (layout.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < layout.rows; ++row) {
    row_function(static_cast<T*>(out) + row * n, static_cast<const T*>(x) + layout.start(row), n);
  }
}

}  // namespace

// The arguments are those of `softmax_launch`, without the stream.
void softmax_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(row_float32, out, x, layout, n);
    case rows::kFloat16: return all_rows<Half>(row_float16, out, x, layout, n);
    default: return all_rows<BFloat16>(row_bfloat16, out, x, layout, n);
  }
}
