// Adaptive normalisation over the last dimension, on the CPU: rows in parallel, each row vectorised by the compiler, in float
// throughout.
#include <cmath>

#include "rows.h"

namespace {

PER_CPU void normalise(float* out, const float* x, const float* scale, const float* shift, int64_t n, float eps, bool rms) {
  const auto square = [=](int64_t i) INLINED { return x[i] * x[i]; };
  const rows::Spread spread =
      rms ? rows::Spread{0.0f, 0.0f, rows::sum(n, square) / static_cast<float>(n)} : rows::spread_of(x, n);
  const float inverse = 1.0f / std::sqrt(spread.variance + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float normal = (x[i] - spread.about - spread.missed) * inverse;
    out[i] = normal * (1.0f + scale[i]) + shift[i];
  }
}

PER_CPU void add_gated(float* out, const float* x, const float* update, const float* gate, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] + gate[i] * update[i];
}

struct Arguments {
  void *out, *x;
  const void *update, *gate, *scale, *shift;
  rows::Layout x_rows, update_rows, gate_rows, scale_rows, shift_rows;
  int64_t n, per_sample;
  float eps;
  bool rms;
};

// Of a tensor with a row for each sample: the row of the last one asked for, so that a sample is converted once.
template <typename T>
class Modulation {
 public:
  Modulation(const void* start, const rows::Layout& layout, int64_t n)
      : start_(static_cast<const T*>(start)), layout_(layout), n_(n), floats_(n) {}
  const float* of(int64_t sample) {
    if (sample != sample_) row_ = floats_.load(start_ + layout_.start(sample), n_);
    sample_ = sample;
    return row_;
  }

 private:
  const T* start_;
  rows::Layout layout_;
  int64_t n_;
  rows::Floats<T> floats_;
  int64_t sample_ = -1;
  const float* row_ = nullptr;
};

template <typename T>
void all_rows(const Arguments& a) {
  rows::in_parallel(a.x_rows.rows, a.n, [&](int64_t first, int64_t last) {
    rows::Floats<T> x_floats(a.n), update_floats(a.n);
    Modulation<T> gate(a.gate, a.gate_rows, a.n), scale(a.scale, a.scale_rows, a.n), shift(a.shift, a.shift_rows, a.n);
    for (int64_t row = first; row < last; ++row) {
      const int64_t sample = row / a.per_sample;
      T *x = static_cast<T*>(a.x) + a.x_rows.start(row), *to = static_cast<T*>(a.out) + row * a.n;
      if (a.update != nullptr) {
        const float* update = update_floats.load(static_cast<const T*>(a.update) + a.update_rows.start(row), a.n);
        add_gated(x_floats.result(x), x_floats.load(x, a.n), update, gate.of(sample), a.n);
        // What is normalised is the sum as the next layer will see it: rounded.
        x_floats.store(x, a.n);
      }
      normalise(x_floats.result(to), x_floats.load(x, a.n), scale.of(sample), shift.of(sample), a.n, a.eps, a.rms);
      x_floats.store(to, a.n);
    }
  });
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
    case rows::kFloat32: return all_rows<float>(a);
    case rows::kFloat16: return all_rows<rows::Half>(a);
    default: return all_rows<rows::BFloat16>(a);
  }
}
