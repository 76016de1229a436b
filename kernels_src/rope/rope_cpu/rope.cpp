// Rotary position embeddings on the CPU: positions in parallel, the pairs of each head vectorised by the compiler, in float
// throughout.
#include "rows.h"

namespace {

// One head at one position: pairs are turned by their angles, what lies behind them is copied. `out` may be `in`.
PER_CPU void turn(float* out, const float* in, const float* cos, const float* sin, int64_t dim, int64_t pairs,
                  bool interleaved) {
  if (interleaved) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = in[2 * i], b = in[2 * i + 1];
      out[2 * i] = a * cos[i] - b * sin[i];
      out[2 * i + 1] = b * cos[i] + a * sin[i];
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = in[i], b = in[pairs + i];
      out[i] = a * cos[i] - b * sin[i];
      out[pairs + i] = b * cos[i] + a * sin[i];
    }
  }
  for (int64_t i = 2 * pairs; i < dim; ++i) out[i] = in[i];
}

struct Sizes {
  int64_t batch, heads[2], seq, dim, rotary_dim;
};

// `T` of q and k, `Table` of the cosines and sines.
template <typename T, typename Table>
void all_positions(void* const* outputs, const void* const* inputs, const Sizes& size, const int64_t* strides,
                   bool interleaved) {
  const int64_t pairs = size.rotary_dim / 2, positions = size.batch * size.seq;
  const int64_t *cos_stride = strides + 12, *sin_stride = strides + 14;
  rows::in_parallel(positions, (size.heads[0] + size.heads[1]) * size.dim, [&](int64_t first, int64_t last) {
    rows::Floats<T> head(size.dim);
    rows::Floats<Table> cos_floats(pairs), sin_floats(pairs);
    for (int64_t position = first; position < last; ++position) {
      const int64_t b = position / size.seq, s = position % size.seq;
      const float* cos =
          cos_floats.load(static_cast<const Table*>(inputs[2]) + b * cos_stride[0] + s * cos_stride[1], pairs);
      const float* sin =
          sin_floats.load(static_cast<const Table*>(inputs[3]) + b * sin_stride[0] + s * sin_stride[1], pairs);
      for (int tensor = 0; tensor < 2; ++tensor) {
        const int64_t *from = strides + 3 * tensor, *to = strides + 6 + 3 * tensor;
        const T* in = static_cast<const T*>(inputs[tensor]) + b * from[0] + s * from[2];
        T* out = static_cast<T*>(outputs[tensor]) + b * to[0] + s * to[2];
        for (int64_t h = 0; h < size.heads[tensor]; ++h, in += from[1], out += to[1]) {
          turn(head.result(out), head.load(in, size.dim), cos, sin, size.dim, pairs, interleaved);
          head.store(out, size.dim);
        }
      }
    }
  });
}

}  // namespace

// The arguments are those of `rope_launch`, without the stream.
void rope_cpu(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides, bool interleaved,
              int dtype, int table_dtype) {
  const Sizes size{sizes[0], {sizes[1], sizes[2]}, sizes[3], sizes[4], sizes[5]};
  // Tables are float32 or like q and k.
  const auto run = [&](auto element) {
    using T = decltype(element);
    if (table_dtype == dtype) return all_positions<T, T>(outputs, inputs, size, strides, interleaved);
    all_positions<T, float>(outputs, inputs, size, strides, interleaved);
  };
  switch (dtype) {
    case rows::kFloat32: return run(float{});
    case rows::kFloat16: return run(rows::Half{});
    default: return run(rows::BFloat16{});
  }
}
