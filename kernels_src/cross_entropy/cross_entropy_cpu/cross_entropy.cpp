// Cross-entropy of rows of logits, on the CPU: rows in parallel, each row vectorised by the compiler and read from memory once.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// Logits whose maximum is found before their exponentials are summed: few enough to be in the first-level cache still.
constexpr int64_t kAtOnce = 4096;

// e^x for x of 0 and below, to two units in the last place: `rows::exp` without what only other numbers need. Below -87.3 it
// gives 1e-38, which is nothing to a sum that holds a 1; NaN stays.
INLINE float power(float x) {
  const float bounded = x < -87.3f ? -87.3f : x;
  const float k = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum is rounded to a whole number
  const float whole = k - 12582912.0f;
  const float r = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The low bits of k are the exponent already.
  return p * rows::as_float((rows::as_bits(k) << 23) + 0x3f800000u);
}

template <typename T>
INLINE float loss_of(const T* x, int64_t n, int64_t target) {
  float maximum = -INFINITY;
  double sum = 0.0;
  for (int64_t first = 0; first < n; first += kAtOnce) {
    const T* part = x + first;
    const int64_t count = std::min(kAtOnce, n - first);
    float larger = maximum;
#pragma omp simd reduction(max : larger)
    for (int64_t i = 0; i < count; ++i) larger = rows::to_float(part[i]) > larger ? rows::to_float(part[i]) : larger;
    if (larger > maximum) {
      sum *= std::exp(maximum - larger);
      maximum = larger;
    }
    // Nothing but -inf so far adds nothing, where -inf - -inf would add NaN.
    const float from = maximum == -INFINITY ? 0.0f : maximum;
    sum += rows::sum(count, [=](int64_t i) INLINED { return power(rows::to_float(part[i]) - from); });
  }
  // The difference first: where the target is the largest logit, nothing of the logarithm is lost.
  return (maximum - rows::to_float(x[target])) + std::log(static_cast<float>(sum));
}

PER_CPU float loss_float32(const float* x, int64_t n, int64_t target) { return loss_of(x, n, target); }
PER_CPU float loss_float16(const Half* x, int64_t n, int64_t target) { return loss_of(x, n, target); }
PER_CPU float loss_bfloat16(const BFloat16* x, int64_t n, int64_t target) { return loss_of(x, n, target); }

template <typename T, typename Loss>
void all_rows(Loss loss, float* losses, const void* logits, const rows::Layout& layout, const int64_t* target,
              const rows::Layout& places, int64_t n, int64_t ignore_index) {
#pragma omp parallel for if (layout.rows * n > rows::kWorthThreads)
  for (int64_t row = 0; row < layout.rows; ++row) {
    const int64_t label = target[places.start(row)];
    losses[row] = label == ignore_index ? 0.0f : loss(static_cast<const T*>(logits) + layout.start(row), n, label);
  }
}

float mean_of_counted(const float* losses, const int64_t* target, const rows::Layout& places, int64_t ignore_index) {
  double sum = 0.0;
  int64_t count = 0;
  for (int64_t row = 0; row < places.rows; ++row) {
    sum += losses[row];
    count += target[places.start(row)] != ignore_index;
  }
  return static_cast<float>(sum / static_cast<double>(count));
}

}  // namespace

// The arguments are those of `cross_entropy_launch`, without the stream. Returns null, or where in `target` a number is that is
// neither a class nor `ignore_index`: nothing is computed then.
const int64_t* cross_entropy_cpu(float* losses, float* mean, const void* logits, const int64_t* logits_rows,
                                 const int64_t* target, const int64_t* target_places, int64_t n, int64_t ignore_index,
                                 int dtype) {
  const rows::Layout layout = rows::Layout::of(logits_rows), places = rows::Layout::of(target_places);
  for (int64_t row = 0; row < layout.rows; ++row) {
    const int64_t* label = target + places.start(row);
    if (*label != ignore_index && (*label < 0 || *label >= n)) return label;
  }
  const auto run = [&](auto element, auto loss) {
    all_rows<decltype(element)>(loss, losses, logits, layout, target, places, n, ignore_index);
  };
  switch (dtype) {
    case rows::kFloat32: run(float{}, loss_float32); break;
    case rows::kFloat16: run(Half{}, loss_float16); break;
    default: run(BFloat16{}, loss_bfloat16);
  }
  if (mean != nullptr) *mean = mean_of_counted(losses, target, places, ignore_index);
  return nullptr;
}
