// SwiGLU on the CPU: rows in parallel, each row vectorised by the compiler as far as its exponential is.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

template <typename T>
INLINE void gated(T* out, const T* gate, const T* up, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = rows::to_float(gate[i]);
    out[i] = rows::from_float<T>(g / (1.0f + rows::exp(-g)) * rows::to_float(up[i]));
  }
}

PER_CPU void row_float32(float* out, const float* gate, const float* up, int64_t n) { gated(out, gate, up, n); }
PER_CPU void row_float16(Half* out, const Half* gate, const Half* up, int64_t n) { gated(out, gate, up, n); }
PER_CPU void row_bfloat16(BFloat16* out, const BFloat16* gate, const BFloat16* up, int64_t n) { gated(out, gate, up, n); }

template <typename T, typename Row>
void all_rows(Row row_function, void* out, const void* gate, const void* up, const rows::Layout& gate_rows,
              const rows::Layout& up_rows, int64_t n) {
  // Long rows in pieces, so that one row keeps all threads busy too.
  constexpr int64_t kPiece = 4096;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
#pragma omp parallel for collapse(2) if (gate_rows.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < gate_rows.rows; ++row) {
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t start = piece * kPiece;
      row_function(static_cast<T*>(out) + row * n + start, static_cast<const T*>(gate) + gate_rows.start(row) + start,
                   static_cast<const T*>(up) + up_rows.start(row) + start, std::min(kPiece, n - start));
    }
  }
}

}  // namespace

// The arguments are those of `swiglu_launch`, without the stream.
void swiglu_cpu(void* out, const void* gate, const void* up, const int64_t* gate_rows, const int64_t* up_rows, int64_t n,
                int dtype) {
  const rows::Layout gates = rows::Layout::of(gate_rows), ups = rows::Layout::of(up_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(row_float32, out, gate, up, gates, ups, n);
    case rows::kFloat16: return all_rows<Half>(row_float16, out, gate, up, gates, ups, n);
    default: return all_rows<BFloat16>(row_bfloat16, out, gate, up, gates, ups, n);
  }
}
