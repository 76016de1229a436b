// Softmax over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler, in float throughout.
#include <cmath>

#include "rows.h"

namespace {

PER_CPU void normalise(float* out, const float* x, int64_t n) {
  float maximum = -INFINITY;
#pragma omp simd reduction(max : maximum)
  for (int64_t i = 0; i < n; ++i) maximum = x[i] > maximum ? x[i] : maximum;
  const float sum = rows::sum(n, [=](int64_t i) INLINED { return out[i] = rows::exp_below(x[i] - maximum); });
  const float inverse = 1.0f / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] *= inverse;
}

template <typename T>
void all_rows(void* out, const void* x, const rows::Layout& layout, int64_t n) {
  rows::in_parallel(layout.rows, n, [&](int64_t first, int64_t last) {
    rows::Floats<T> floats(n);
    for (int64_t row = first; row < last; ++row) {
      T* to = static_cast<T*>(out) + row * n;
      normalise(floats.result(to), floats.load(static_cast<const T*>(x) + layout.start(row), n), n);
      floats.store(to, n);
    }
  });
}

}  // namespace

// The arguments are those of `softmax_launch`, without the stream.
void softmax_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(out, x, layout, n);
    case rows::kFloat16: return all_rows<rows::Half>(out, x, layout, n);
    default: return all_rows<rows::BFloat16>(out, x, layout, n);
  }
}
