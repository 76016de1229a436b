// LayerNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler; sums are in float.
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

template <typename T>
INLINE void normalise(T* out, const T* x, const T* weight, const T* bias, int64_t n, float eps) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += rows::to_float(x[i]);
  const float about = sum / static_cast<float>(n);
  float differences = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : differences, squares)
  for (int64_t i = 0; i < n; ++i) {
    const float difference = rows::to_float(x[i]) - about;
    differences += difference;
    squares += difference * difference;
  }
  // What rounding took from a long sum of large numbers, the small differences still show.
  const float missed = differences / static_cast<float>(n);
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) - missed * missed + eps);
  if (weight != nullptr && bias != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const float normal = (rows::to_float(x[i]) - about - missed) * inverse;
      out[i] = rows::from_float<T>(normal * rows::to_float(weight[i]) + rows::to_float(bias[i]));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    float value = (rows::to_float(x[i]) - about - missed) * inverse;
    if (weight != nullptr) value *= rows::to_float(weight[i]);
    if (bias != nullptr) value += rows::to_float(bias[i]);
    out[i] = rows::from_float<T>(value);
  }
}

PER_CPU void row_float32(float* out, const float* x, const float* weight, const float* bias, int64_t n, float eps) {
  normalise(out, x, weight, bias, n, eps);
}
PER_CPU void row_float16(Half* out, const Half* x, const Half* weight, const Half* bias, int64_t n, float eps) {
  normalise(out, x, weight, bias, n, eps);
}
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* x, const BFloat16* weight, const BFloat16* bias, int64_t n,
                          float eps) {
  normalise(out, x, weight, bias, n, eps);
}

template <typename T, typename Row>
void all_rows(Row row_function, void* out, const void* x, const void* weight, const void* bias, const rows::Layout& layout,
              int64_t n, float eps) {
#pragma omp parallel for if (layout.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < layout.rows; ++row) {
    row_function(static_cast<T*>(out) + row * n, static_cast<const T*>(x) + layout.start(row), static_cast<const T*>(weight),
                 static_cast<const T*>(bias), n, eps);
  }
}

}  // namespace

// The arguments are those of `layernorm_launch`, without the stream.
void layernorm_cpu(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n, float eps,
                   int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(row_float32, out, x, weight, bias, layout, n, eps);
    case rows::kFloat16: return all_rows<Half>(row_float16, out, x, weight, bias, layout, n, eps);
    default: return all_rows<BFloat16>(row_bfloat16, out, x, weight, bias, layout, n, eps);
  }
}
