// Adaptive normalisation over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler.
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

template <typename T>
INLINE void normalise(T* out, const T* x, const T* scale, const T* shift, int64_t n, float eps, bool rms) {
  const float count = static_cast<float>(n);
  const float about = rms ? 0.0f : rows::sum(n, [=](int64_t i) INLINED { return rows::to_float(x[i]); }) / count;
  // What rounding took from a long sum of large numbers, the small differences from it still show.
  const auto difference = [=](int64_t i) INLINED { return rows::to_float(x[i]) - about; };
  const float missed = rms ? 0.0f : rows::sum(n, difference) / count;
  const float squares =
      rows::sum(n, [=](int64_t i) INLINED { return (difference(i) - missed) * (difference(i) - missed); });
  const float inverse = 1.0f / std::sqrt(squares / count + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float normal = (difference(i) - missed) * inverse;
    out[i] = rows::from_float<T>(normal * (1.0f + rows::to_float(scale[i])) + rows::to_float(shift[i]));
  }
}

// The sum is rounded: what is normalised is what the next layer will see.
template <typename T>
INLINE void add_gated(T* x, const T* update, const T* gate, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    x[i] = rows::from_float<T>(rows::to_float(x[i]) + rows::to_float(gate[i]) * rows::to_float(update[i]));
  }
}

#define ROW_FUNCTIONS(T, NAME)                                                                                        \
  PER_CPU void normalise_##NAME(T* out, const T* x, const T* scale, const T* shift, int64_t n, float eps, bool rms) { \
    normalise(out, x, scale, shift, n, eps, rms);                                                                     \
  }                                                                                                                   \
  PER_CPU void add_##NAME(T* x, const T* update, const T* gate, int64_t n) { add_gated(x, update, gate, n); }
ROW_FUNCTIONS(float, float32)
ROW_FUNCTIONS(Half, float16)
ROW_FUNCTIONS(BFloat16, bfloat16)
#undef ROW_FUNCTIONS

struct Arguments {
  void *out, *x;
  const void *update, *gate, *scale, *shift;
  rows::Layout x_rows, update_rows, gate_rows, scale_rows, shift_rows;
  int64_t n, per_sample;
  float eps;
  bool rms;
};

template <typename T, typename Normalise, typename Add>
void all_rows(Normalise normalise_row, Add add_row, const Arguments& a) {
#pragma omp parallel for if (a.x_rows.rows * a.n > rows::kWorthThreads)
  for (int64_t row = 0; row < a.x_rows.rows; ++row) {
    const int64_t sample = row / a.per_sample;
    T* x_row = static_cast<T*>(a.x) + a.x_rows.start(row);
    if (a.update != nullptr) {
      add_row(x_row, static_cast<const T*>(a.update) + a.update_rows.start(row),
              static_cast<const T*>(a.gate) + a.gate_rows.start(sample), a.n);
    }
    normalise_row(static_cast<T*>(a.out) + row * a.n, x_row, static_cast<const T*>(a.scale) + a.scale_rows.start(sample),
                  static_cast<const T*>(a.shift) + a.shift_rows.start(sample), a.n, a.eps, a.rms);
  }
}

}  // namespace

// The arguments are those of `adaln_launch`, without the stream.
void adaln_cpu(void* out, void* x, const void* update, const void* gate, const void* scale, const void* shift,
               const int64_t* x_rows, const int64_t* update_rows, const int64_t* gate_rows, const int64_t* scale_rows,
               const int64_t* shift_rows, int64_t n, int64_t per_sample, float eps, bool rms, int dtype) {
  using rows::Layout;
  const Arguments a{out,
                    x,
                    update,
                    gate,
                    scale,
                    shift,
                    Layout::of(x_rows),
                    Layout::of(update_rows),
                    Layout::of(gate_rows),
                    Layout::of(scale_rows),
                    Layout::of(shift_rows),
                    n,
                    per_sample,
                    eps,
                    rms};
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(normalise_float32, add_float32, a);
    case rows::kFloat16: return all_rows<Half>(normalise_float16, add_float16, a);
    default: return all_rows<BFloat16>(normalise_bfloat16, add_bfloat16, a);
  }
}
