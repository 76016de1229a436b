// Cross-entropy of rows of logits, on the CPU: rows in parallel, each row vectorised by the compiler and read from memory once,
// in float.
#include <algorithm>
#include <cmath>

#include "rows.h"

namespace {

// Logits whose maximum is found before their exponentials are summed: few enough to be in the first-level cache still.
constexpr int64_t kAtOnce = 4096;

// The sum of e^(x - maximum) over the numbers so far, which are given `x` at a time.
struct Sum {
  float maximum = -INFINITY;
  double powers = 0.0;
};

PER_CPU void take(Sum* sum, const float* x, int64_t n) {
  float larger = sum->maximum;
#pragma omp simd reduction(max : larger)
  for (int64_t i = 0; i < n; ++i) larger = x[i] > larger ? x[i] : larger;
  if (larger > sum->maximum) {
    sum->powers *= std::exp(sum->maximum - larger);
    sum->maximum = larger;
  }
  // Nothing but -inf so far adds nothing, where -inf - -inf would add NaN.
  const float from = larger == -INFINITY ? 0.0f : larger;
  sum->powers += rows::sum(n, [=](int64_t i) INLINED { return rows::exp_below(x[i] - from); });
}

template <typename T>
float loss_of(const T* x, int64_t n, int64_t target, rows::Floats<T>& floats) {
  Sum sum;
  for (int64_t first = 0; first < n; first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - first);
    take(&sum, floats.load(x + first, count), count);
  }
  // The difference first: where the target is the largest logit, nothing of the logarithm is lost.
  return (sum.maximum - rows::to_float(x[target])) + std::log(static_cast<float>(sum.powers));
}

template <typename T>
void all_rows(float* losses, const void* logits, const rows::Layout& layout, const int64_t* target, const rows::Layout& places,
              int64_t n, int64_t ignore_index) {
  rows::in_parallel(layout.rows, n, [&](int64_t first, int64_t last) {
    rows::Floats<T> floats(kAtOnce);
    for (int64_t row = first; row < last; ++row) {
      const int64_t label = target[places.start(row)];
      const T* x = static_cast<const T*>(logits) + layout.start(row);
      losses[row] = label == ignore_index ? 0.0f : loss_of(x, n, label, floats);
    }
  });
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
  switch (dtype) {
    case rows::kFloat32: all_rows<float>(losses, logits, layout, target, places, n, ignore_index); break;
    case rows::kFloat16: all_rows<rows::Half>(losses, logits, layout, target, places, n, ignore_index); break;
    default: all_rows<rows::BFloat16>(losses, logits, layout, target, places, n, ignore_index);
  }
  if (mean != nullptr) *mean = mean_of_counted(losses, target, places, ignore_index);
  return nullptr;
}
