// Residual addition and RMSNorm over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler, in
// float throughout.
#include <cmath>

#include "rows.h"

namespace {

PER_CPU void add(float* out, const float* residual, const float* x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = residual[i] + x[i];
}

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
void all_rows(void* out, void* residual, const void* x, const void* weight, const rows::Layout& layout,
              const rows::Layout& residual_layout, int64_t n, float eps, float weight_offset) {
  rows::Floats<T> weight_floats(n);
  const float* factor = weight_floats.load(static_cast<const T*>(weight), n);
  rows::in_parallel(layout.rows, n, [&](int64_t first, int64_t last) {
    rows::Floats<T> x_floats(n), sum_floats(n);
    for (int64_t row = first; row < last; ++row) {
      T *to = static_cast<T*>(out) + row * n, *sum = static_cast<T*>(residual) + residual_layout.start(row);
      add(sum_floats.result(sum), sum_floats.load(sum, n), x_floats.load(static_cast<const T*>(x) + layout.start(row), n), n);
      sum_floats.store(sum, n);
      // What is normalised is the sum as the next layer will see it: rounded.
      normalise(x_floats.result(to), sum_floats.load(sum, n), factor, n, eps, weight_offset);
      x_floats.store(to, n);
    }
  });
}

}  // namespace

// The arguments are those of `add_rmsnorm_launch`, without the stream.
void add_rmsnorm_cpu(void* out, void* residual, const void* x, const void* weight, const int64_t* x_rows,
                     const int64_t* residual_rows, int64_t n, float eps, float weight_offset, int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows), residual_layout = rows::Layout::of(residual_rows);
  const auto run = [&](auto element) {
    all_rows<decltype(element)>(out, residual, x, weight, layout, residual_layout, n, eps, weight_offset);
  };
  switch (dtype) {
    case rows::kFloat32: return run(float{});
    case rows::kFloat16: return run(rows::Half{});
    default: return run(rows::BFloat16{});
  }
}
