// RMSNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler, in float throughout.
#include <cmath>

#include "rows.h"

namespace {

PER_CPU void normalise(float* out, const float* x, const float* weight, int64_t n, float eps, float weight_offset) {
  const float squares = rows::sum(n, [=](int64_t i) INLINED { return x[i] * x[i]; });
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
  if (weight == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse;
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] * inverse * (weight[i] + weight_offset);
  }
}

template <typename T>
void all_rows(void* out, const void* x, const void* weight, const rows::Layout& layout, int64_t n, float eps,
              float weight_offset) {
  rows::Floats<T> weight_floats(n);
  const float* factor = weight_floats.load(static_cast<const T*>(weight), n);
  rows::in_parallel(layout.rows, n, [&](int64_t first, int64_t last) {
    rows::Floats<T> floats(n);
    for (int64_t row = first; row < last; ++row) {
      T* to = static_cast<T*>(out) + row * n;
      normalise(floats.result(to), floats.load(static_cast<const T*>(x) + layout.start(row), n), factor, n, eps, weight_offset);
      floats.store(to, n);
    }
  });
}

}  // namespace

// The arguments are those of `rmsnorm_launch`, without the stream.
void rmsnorm_cpu(void* out, const void* x, const void* weight, const int64_t* x_rows, int64_t n, float eps, float weight_offset,
                 int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(out, x, weight, layout, n, eps, weight_offset);
    case rows::kFloat16: return all_rows<rows::Half>(out, x, weight, layout, n, eps, weight_offset);
    default: return all_rows<rows::BFloat16>(out, x, weight, layout, n, eps, weight_offset);
  }
}
