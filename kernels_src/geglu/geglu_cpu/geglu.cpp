// GEGLU on the CPU: rows in parallel, each row vectorised by the compiler.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2u)), which keeps its digits where tanh(u) is near -1.
INLINE float gelu_tanh(float g) {
  const float u = 0.7978845608f * (g + 0.044715f * g * g * g);
  return g / (1.0f + rows::exp(-2.0f * u));
}

// 1 + erf(g / sqrt(2)) by formula 7.1.26 of Abramowitz and Stegun, which is right to 1.5e-7 and, other than std::erf, vectorises.
INLINE float gelu(float g) {
  const float x = std::fabs(g) * 0.7071067812f;
  const float t = 1.0f / (1.0f + 0.3275911f * x);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float rest = p * t * rows::exp(-x * x);
  return 0.5f * g * (g < 0.0f ? rest : 2.0f - rest);
}

template <typename T>
INLINE void gated(T* out, const T* gate, const T* value, int64_t n, bool tanh) {
  if (tanh) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      out[i] = rows::from_float<T>(gelu_tanh(rows::to_float(gate[i])) * rows::to_float(value[i]));
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      out[i] = rows::from_float<T>(gelu(rows::to_float(gate[i])) * rows::to_float(value[i]));
    }
  }
}

PER_CPU void row_float32(float* out, const float* gate, const float* value, int64_t n, bool tanh) {
  gated(out, gate, value, n, tanh);
}
PER_CPU void row_float16(Half* out, const Half* gate, const Half* value, int64_t n, bool tanh) {
  gated(out, gate, value, n, tanh);
}
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* gate, const BFloat16* value, int64_t n, bool tanh) {
  gated(out, gate, value, n, tanh);
}

template <typename T, typename Row>
void all_rows(Row row_function, void* out, const void* x, const rows::Layout& layout, int64_t n, bool tanh, bool gate_first) {
  // Long rows in pieces, so that one row keeps all threads busy too.
  constexpr int64_t kPiece = 4096;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
#pragma omp parallel for collapse(2) if (layout.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t start = piece * kPiece;
      const T* x_row = static_cast<const T*>(x) + layout.start(row) + start;
      row_function(static_cast<T*>(out) + row * n + start, x_row + (gate_first ? 0 : n), x_row + (gate_first ? n : 0),
                   std::min(kPiece, n - start), tanh);
    }
  }
}

}  // namespace

// The arguments are those of `geglu_launch`, without the stream.
void geglu_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, bool tanh, bool gate_first, int dtype) {
  const rows::Layout layout = rows::Layout::of(x_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(row_float32, out, x, layout, n, tanh, gate_first);
    case rows::kFloat16: return all_rows<Half>(row_float16, out, x, layout, n, tanh, gate_first);
    default: return all_rows<BFloat16>(row_bfloat16, out, x, layout, n, tanh, gate_first);
  }
}
