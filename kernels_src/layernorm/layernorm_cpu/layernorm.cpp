// LayerNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler; sums are in float.
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// `x` may be wider than `out`.
template <typename T, typename Wide>
INLINE void normalise(T* out, const Wide* x, const T* weight, const T* bias, int64_t n, float eps) {
  const float count = static_cast<float>(n);
  const float about = rows::sum(n, [=](int64_t i) INLINED { return rows::to_float(x[i]); }) / count;
  // What rounding took from a long sum of large numbers, the small differences from it still show.
  const auto difference = [=](int64_t i) INLINED { return rows::to_float(x[i]) - about; };
  const float missed = rows::sum(n, difference) / count;
  const float squares =
      rows::sum(n, [=](int64_t i) INLINED { return (difference(i) - missed) * (difference(i) - missed); });
  const float inverse = 1.0f / std::sqrt(squares / count + eps);
  if (weight != nullptr && bias != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const float normal = (difference(i) - missed) * inverse;
      out[i] = rows::from_float<T>(normal * rows::to_float(weight[i]) + rows::to_float(bias[i]));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    float value = (difference(i) - missed) * inverse;
    if (weight != nullptr) value *= rows::to_float(weight[i]);
    if (bias != nullptr) value += rows::to_float(bias[i]);
    out[i] = rows::from_float<T>(value);
  }
}

// A row is read four times, which is cheap but for the conversion of 16-bit floats: those are converted once where 32 KB of stack
// can hold them.
template <typename T>
INLINE void normalise_held(T* out, const T* x, const T* weight, const T* bias, int64_t n, float eps) {
  constexpr int64_t kHeld = 8192;
  if (n > kHeld) return normalise(out, x, weight, bias, n, eps);
  float held[kHeld];
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) held[i] = rows::to_float(x[i]);
  normalise(out, held, weight, bias, n, eps);
}

PER_CPU void row_float32(float* out, const float* x, const float* weight, const float* bias, int64_t n, float eps) {
  normalise(out, x, weight, bias, n, eps);
}
PER_CPU void row_float16(Half* out, const Half* x, const Half* weight, const Half* bias, int64_t n, float eps) {
  normalise_held(out, x, weight, bias, n, eps);
}
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* x, const BFloat16* weight, const BFloat16* bias, int64_t n,
                          float eps) {
  normalise_held(out, x, weight, bias, n, eps);
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
