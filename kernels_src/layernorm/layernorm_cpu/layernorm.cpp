// LayerNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler, in float throughout.
#include <cmath>

#include "rows.h"

namespace {

PER_CPU void normalise(float* out, const float* x, const float* weight, const float* bias, int64_t n, float eps) {
  const rows::Spread spread = rows::spread_of(x, n);
  const float inverse = 1.0f / std::sqrt(spread.variance + eps);
  const auto normal = [=](int64_t i) INLINED { return (x[i] - spread.about - spread.missed) * inverse; };
  if (weight != nullptr && bias != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = normal(i) * weight[i] + bias[i];
  } else if (weight != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = normal(i) * weight[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = normal(i) + (bias != nullptr ? bias[i] : 0.0f);
  }
}

template <typename T>
void all_rows(void* out, const void* x, const void* weight, const void* bias, const rows::Layout& layout, int64_t n,
              float eps) {
  rows::Floats<T> weight_floats(n), bias_floats(n);
  const float* factor = weight_floats.load(static_cast<const T*>(weight), n);
  const float* summand = bias_floats.load(static_cast<const T*>(bias), n);
  rows::in_parallel(layout.rows, n, [&](int64_t first, int64_t last) {
    rows::Floats<T> floats(n);
    for (int64_t row = first; row < last; ++row) {
      T* to = static_cast<T*>(out) + row * n;
      normalise(floats.result(to), floats.load(static_cast<const T*>(x) + layout.start(row), n), factor, summand, n, eps);
      floats.store(to, n);
    }
  });
}

}  // namespace

// The arguments are those of `layernorm_launch`, without the stream.
void layernorm_cpu(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n, float eps,
                   int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(out, x, weight, bias, layout, n, eps);
    case rows::kFloat16: return all_rows<rows::Half>(out, x, weight, bias, layout, n, eps);
    default: return all_rows<rows::BFloat16>(out, x, weight, bias, layout, n, eps);
  }
}
