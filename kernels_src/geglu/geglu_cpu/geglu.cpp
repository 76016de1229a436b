// GEGLU on the CPU: rows in parallel, each row vectorised by the compiler, in float throughout.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace {

// 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2u)), which keeps its digits where tanh(u) is near -1.
INLINE float gelu_tanh(float g) {
  return rows::times_logistic(g, 1.5957691216f * (g + 0.044715f * g * g * g));
}

// 1 + erf(g / sqrt(2)) by formula 7.1.26 of Abramowitz and Stegun, which is right to 1.5e-7 and, other than std::erf,
// vectorises.
INLINE float gelu(float g) {
  const float x = std::fabs(g) * 0.7071067812f;
  const float t = 1.0f / (1.0f + 0.3275911f * x);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float rest = p * t * rows::exp_below(-x * x);
  return 0.5f * g * (g < 0.0f ? rest : 2.0f - rest);
}

PER_CPU void gated(float* out, const float* gate, const float* value, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = gelu(gate[i]) * value[i];
}
PER_CPU void gated_tanh(float* out, const float* gate, const float* value, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = gelu_tanh(gate[i]) * value[i];
}

template <typename T>
void all_rows(void* out, const void* x, const rows::Layout& layout, int64_t n, bool tanh, bool gate_first) {
  // Long rows in pieces, so that one row keeps all threads busy too.
  constexpr int64_t kPiece = 2048;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  rows::in_parallel(layout.rows * pieces, std::min(kPiece, n), [&](int64_t first, int64_t last) {
    rows::Floats<T> gate_floats(kPiece), value_floats(kPiece);
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t row = piece / pieces, start = piece % pieces * kPiece, count = std::min(kPiece, n - start);
      const T* from = static_cast<const T*>(x) + layout.start(row) + start;
      T* to = static_cast<T*>(out) + row * n + start;
      const float *gate = gate_floats.load(from + (gate_first ? 0 : n), count),
                  *value = value_floats.load(from + (gate_first ? n : 0), count);
      (tanh ? gated_tanh : gated)(gate_floats.result(to), gate, value, count);
      gate_floats.store(to, count);
    }
  });
}

}  // namespace

// The arguments are those of `geglu_launch`, without the stream.
void geglu_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, bool tanh, bool gate_first, int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(out, x, layout, n, tanh, gate_first);
    case rows::kFloat16: return all_rows<rows::Half>(out, x, layout, n, tanh, gate_first);
    default: return all_rows<rows::BFloat16>(out, x, layout, n, tanh, gate_first);
  }
}
