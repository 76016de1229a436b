// SwiGLU on the CPU: rows in parallel, each row vectorised by the compiler, in float throughout.
#include <algorithm>

#include "rows.h"

namespace {

PER_CPU void gated(float* out, const float* gate, const float* up, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = rows::times_logistic(gate[i], gate[i]) * up[i];
}

template <typename T>
void all_rows(void* out, const void* gate, const void* up, const rows::Layout& gate_rows, const rows::Layout& up_rows,
              int64_t n) {
  // Long rows in pieces, so that one row keeps all threads busy too.
  constexpr int64_t kPiece = 2048;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  rows::in_parallel(gate_rows.rows * pieces, std::min(kPiece, n), [&](int64_t first, int64_t last) {
    rows::Floats<T> gate_floats(kPiece), up_floats(kPiece);
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t row = piece / pieces, start = piece % pieces * kPiece, count = std::min(kPiece, n - start);
      T* to = static_cast<T*>(out) + row * n + start;
      gated(gate_floats.result(to), gate_floats.load(static_cast<const T*>(gate) + gate_rows.start(row) + start, count),
            up_floats.load(static_cast<const T*>(up) + up_rows.start(row) + start, count), count);
      gate_floats.store(to, count);
    }
  });
}

}  // namespace

// The arguments are those of `swiglu_launch`, without the stream.
void swiglu_cpu(void* out, const void* gate, const void* up, const int64_t* gate_rows, const int64_t* up_rows, int64_t n,
                int dtype) {
  const rows::Layout gates = rows::Layout::of(gate_rows), ups = rows::Layout::of(up_rows);
  switch (dtype) {
    case rows::kFloat32: return all_rows<float>(out, gate, up, gates, ups, n);
    case rows::kFloat16: return all_rows<rows::Half>(out, gate, up, gates, ups, n);
    default: return all_rows<rows::BFloat16>(out, gate, up, gates, ups, n);
  }
}
