// RMSNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler; sums are in float.
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

template <typename T>
INLINE void normalise(T* out, const T* x, const T* weight, int64_t n, float eps, float weight_offset) {
  const float squares = rows::sum(n, [=](int64_t i) INLINED { return rows::to_float(x[i]) * rows::to_float(x[i]); });
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
  if (weight == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = rows::from_float<T>(rows::to_float(x[i]) * inverse);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      out[i] = rows::from_float<T>(rows::to_float(x[i]) * inverse * (rows::to_float(weight[i]) + weight_offset));
    }
  }
}

PER_CPU void row_float32(float* out, const float* x, const float* weight, int64_t n, float eps, float weight_offset) {
  normalise(out, x, weight, n, eps, weight_offset);
}
PER_CPU void row_float16(Half* out, const Half* x, const Half* weight, int64_t n, float eps, float weight_offset) {
  normalise(out, x, weight, n, eps, weight_offset);
}
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* x, const BFloat16* weight, int64_t n, float eps, float weight_offset) {
  normalise(out, x, weight, n, eps, weight_offset);
}

template <typename T, typename Row>
void all_rows(Row row_function, void* out, const void* x, const void* weight, const rows::Layout& layout, int64_t n, float eps,
              float weight_offset) {
#pragma omp parallel for if (layout.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < layout.rows; ++row) {
    row_function(static_cast<T*>(out) + row * n, static_cast<const T*>(x) + layout.start(row), static_cast<const T*>(weight), n,
                 eps, weight_offset);
  }
}

}  // namespace

// The arguments are those of `rmsnorm_launch`, without the stream.
void rmsnorm_cpu(void* out, const void* x, const void* weight, const int64_t* x_rows, int64_t n, float eps, float weight_offset,
                 int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(row_float32, out, x, weight, layout, n, eps, weight_offset);
    case rows::kFloat16: return all_rows<Half>(row_float16, out, x, weight, layout, n, eps, weight_offset);
    default: return all_rows<BFloat16>(row_bfloat16, out, x, weight, layout, n, eps, weight_offset);
  }
}
