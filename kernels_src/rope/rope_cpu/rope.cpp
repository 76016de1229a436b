// Rotary position embeddings on the CPU: positions in parallel, the pairs of each head vectorised by the compiler.
#include <vector>

#include "rows.h"

namespace {

using rows::BFloat16;
using rows::Half;

// One head at one position: pairs are turned by their angles, what lies behind them is copied.
template <typename T>
INLINE void turn(T* out, const T* in, const float* cos, const float* sin, int64_t dim, int64_t pairs, bool interleaved) {
  if (interleaved) {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = rows::to_float(in[2 * i]), b = rows::to_float(in[2 * i + 1]);
      out[2 * i] = rows::from_float<T>(a * cos[i] - b * sin[i]);
      out[2 * i + 1] = rows::from_float<T>(b * cos[i] + a * sin[i]);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = rows::to_float(in[i]), b = rows::to_float(in[pairs + i]);
      out[i] = rows::from_float<T>(a * cos[i] - b * sin[i]);
      out[pairs + i] = rows::from_float<T>(b * cos[i] + a * sin[i]);
    }
  }
  for (int64_t i = 2 * pairs; i < dim; ++i) out[i] = in[i];
}

#define ARGUMENTS(T) T *out, const T *in, const float *cos, const float *sin, int64_t dim, int64_t pairs, bool interleaved
PER_CPU void turn_float32(ARGUMENTS(float)) { turn(out, in, cos, sin, dim, pairs, interleaved); }
PER_CPU void turn_float16(ARGUMENTS(Half)) { turn(out, in, cos, sin, dim, pairs, interleaved); }
PER_CPU void turn_bfloat16(ARGUMENTS(BFloat16)) { turn(out, in, cos, sin, dim, pairs, interleaved); }
#undef ARGUMENTS

template <typename T>
INLINE void widen(float* out, const T* in, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = rows::to_float(in[i]);
}

PER_CPU void widen_float16(float* out, const Half* in, int64_t n) { widen(out, in, n); }
PER_CPU void widen_bfloat16(float* out, const BFloat16* in, int64_t n) { widen(out, in, n); }

// A row of `n` cosines or sines of any dtype as floats, in `room` where it has to be converted.
const float* as_floats(const void* table, int64_t start, int64_t n, int dtype, float* room) {
  switch (dtype) {
    case rows::kFloat32: return static_cast<const float*>(table) + start;
    case rows::kFloat16: widen_float16(room, static_cast<const Half*>(table) + start, n); return room;
    default: widen_bfloat16(room, static_cast<const BFloat16*>(table) + start, n); return room;
  }
}

struct Sizes {
  int64_t batch, heads[2], seq, dim, rotary_dim;
};

template <typename T, typename Turn>
void all_positions(Turn turn_head, void* const* outputs, const void* const* inputs, const Sizes& size, const int64_t* strides,
                   bool interleaved, int table_dtype) {
  const int64_t pairs = size.rotary_dim / 2, positions = size.batch * size.seq;
  const int64_t *cos_stride = strides + 12, *sin_stride = strides + 14;
#pragma omp parallel if (positions * (size.heads[0] + size.heads[1]) * size.dim > rows::kWorthThreads)
  {
    std::vector<float> room(2 * pairs);
#pragma omp for
    for (int64_t position = 0; position < positions; ++position) {
      const int64_t b = position / size.seq, s = position % size.seq;
      const float* cos =
          as_floats(inputs[2], b * cos_stride[0] + s * cos_stride[1], pairs, table_dtype, room.data());
      const float* sin =
          as_floats(inputs[3], b * sin_stride[0] + s * sin_stride[1], pairs, table_dtype, room.data() + pairs);
      for (int tensor = 0; tensor < 2; ++tensor) {
        const int64_t *from = strides + 3 * tensor, *to = strides + 6 + 3 * tensor;
        const T* in = static_cast<const T*>(inputs[tensor]) + b * from[0] + s * from[2];
        T* out = static_cast<T*>(outputs[tensor]) + b * to[0] + s * to[2];
        for (int64_t h = 0; h < size.heads[tensor]; ++h) {
          turn_head(out + h * to[1], in + h * from[1], cos, sin, size.dim, pairs, interleaved);
        }
      }
    }
  }
}

}  // namespace

// The arguments are those of `rope_launch`, without the stream.
void rope_cpu(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides, bool interleaved,
              int dtype, int table_dtype) {
  const Sizes size{sizes[0], {sizes[1], sizes[2]}, sizes[3], sizes[4], sizes[5]};
  switch (dtype) {
    case rows::kFloat32:
      return all_positions<float>(turn_float32, outputs, inputs, size, strides, interleaved, table_dtype);
    case rows::kFloat16:
      return all_positions<Half>(turn_float16, outputs, inputs, size, strides, interleaved, table_dtype);
    default: return all_positions<BFloat16>(turn_bfloat16, outputs, inputs, size, strides, interleaved, table_dtype);
  }
}
