// What reference() in problem.py computes, on the CPU: elements in parallel, vectorised by the compiler where `compute` allows.
#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// One element, in float32. TO BE WRITTEN: it gives the first tensor back as it is.
INLINE float compute(float x) { return x; }

template <typename T>
void all_elements(void* out, const void* x, int64_t n) {
#pragma omp parallel for simd if (n > rows::kWorthThreads)
  for (int64_t i = 0; i < n; ++i) {
    static_cast<T*>(out)[i] = rows::from_float<T>(compute(rows::to_float(static_cast<const T*>(x)[i])));
  }
}

}  // namespace

// The arguments are those of `custom_launch`, without the stream.
void custom_cpu(void* out, const void* x, int64_t n, int dtype) {
  switch (dtype) {
    case rows::kFloat32: return all_elements<float>(out, x, n);
    case rows::kFloat16: return all_elements<Half>(out, x, n);
    default: return all_elements<BFloat16>(out, x, n);
  }
}
