// Adaptive normalisation over the last dimension, with the gated residual before it or without:
//   x[r, i] += gate[s, i] * update[r, i]                      (gated only; s is the sample that row r belongs to)
//   out[r, i] = (x[r, i] - mean) * inverse * (1 + scale[s, i]) + shift[s, i]
// where mean and inverse are those of LayerNorm, or 0 and 1 / sqrt(mean(x^2) + eps) for RMSNorm.
//
// Bytes moved: x is read once and out written once, 2 * rows * n * sizeof(T); gated also reads update and writes x, twice that.
// gate, scale and shift come from cache.
// Limit: DRAM bandwidth; in 16 bits, with ten instructions an element, nearly that of instructions.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers: three, four or six vectors each, as
// `rows::three_four_or_six` says; gated three, and four where it is long. Sums are in float: lanes of a warp, then warps
// through shared memory; those of LayerNorm are right where the mean is large, too (moments.cuh). Scale and shift are asked for
// before the sums, beside six vectors after them.
// Rows over 32 KB, which no such model has, and rows that are not aligned are read again from cache, an element at a time.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "launch.cuh"
#include "moments.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// `per_sample` rows of x share a row of each modulation.
template <typename T>
struct Arguments {
  T* out;
  T* x;
  const T *update, *gate, *scale, *shift;
  Layout x_rows, update_rows, gate_rows, scale_rows, shift_rows;
  int64_t n, per_sample;
  float eps;
  bool rms;
};

// The thread's vector `j` of a row of gate, scale or shift. Not to be kept in L1 longer than others: of many samples they would
// fill it.
template <typename T>
__device__ __forceinline__ void fetch(const T* row, int vectors, int j, uint4& into) {
  const int v = threadIdx.x + j * blockDim.x;
  if (v < vectors) into = __ldg(reinterpret_cast<const uint4*>(row + v * rows::kLanes<T>));
}

template <typename T, int kVectors>
__device__ __forceinline__ void load(const T* row, int vectors, uint4 (&into)[kVectors]) {
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    into[j] = v < vectors ? rows::load(row + v * rows::kLanes<T>) : make_uint4(0, 0, 0, 0);
  }
}

// held += factor * update, rounded: what is normalised is the sum as the next layer will see it.
template <typename T, int kVectors>
__device__ __forceinline__ void add_gated(T* row, int vectors, const uint4 (&update)[kVectors], const uint4 (&factor)[kVectors],
                                          uint4 (&held)[kVectors]) {
  constexpr int kLanes = rows::kLanes<T>;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    if (v >= vectors) continue;
    float lane[kLanes], more[kLanes], gate[kLanes];
    rows::unpack<T>(held[j], lane);
    rows::unpack<T>(update[j], more);
    rows::unpack<T>(factor[j], gate);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] = fmaf(gate[i], more[i], lane[i]);
    held[j] = rows::pack<T>(lane);
    rows::store(row + v * kLanes, held[j]);
  }
}

template <typename T, int kVectors>
__device__ __forceinline__ float squares_of(const uint4 (&held)[kVectors]) {
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[rows::kLanes<T>];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < rows::kLanes<T>; ++i) sum = fmaf(lane[i], lane[i], sum);
  }
  return sum;
}

// Gated kernels hold update and gate beside x, which needs the registers of half the threads.
template <typename T, int kVectors, bool kGated>
__global__ void __launch_bounds__(rows::threads_of(kVectors), kGated ? 1 : rows::blocks_per_sm(kVectors, true))
    adaln_in_registers(Arguments<T> a) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[3][32];

  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < a.x_rows.rows;
  const int vectors = active ? static_cast<int>(a.n) / kLanes : 0;
  const int64_t sample = active ? rows::divide(row, a.per_sample) : 0;
  T* x_row = a.x + (active ? a.x_rows.start(row) : 0);

  rows::wait_for_previous();
  uint4 held[kVectors];
  load<T>(x_row, vectors, held);
  if constexpr (kGated) {
    uint4 update[kVectors], factor[kVectors];
    load<T>(a.update + (active ? a.update_rows.start(row) : 0), vectors, update);
    const T* gate_row = a.gate + a.gate_rows.start(sample);
#pragma unroll
    for (int j = 0; j < kVectors; ++j) fetch<T>(gate_row, vectors, j, factor[j]);
    add_gated<T>(x_row, vectors, update, factor, held);
  }
  uint4 factors[kVectors], summands[kVectors];
  const T *scale_row = a.scale + a.scale_rows.start(sample), *shift_row = a.shift + a.shift_rows.start(sample);
  const auto ask = [&](int j) {
    fetch<T>(scale_row, vectors, j, factors[j]);
    fetch<T>(shift_row, vectors, j, summands[j]);
  };
  // Beside six vectors there are no registers for any of scale and shift before the sums.
  constexpr int kAhead = kVectors == 6 ? 0 : kVectors;
#pragma unroll
  for (int j = 0; j < kAhead; ++j) ask(j);

  float about = 0.0f, offset = 0.0f, inverse;
  if (a.rms) {
    inverse = rsqrtf(rows::reduce_row<rows::Add>(squares_of<T>(held), scratch[0]) / static_cast<float>(a.n) + a.eps);
  } else {
    const rows::Moments moments = rows::moments_in_registers<T>(held, vectors, scratch);
    about = moments.about;
    inverse = moments.inverse(a.eps);
    offset = -moments.rest() * inverse;
  }
  rows::let_next_start();

  T* out_row = a.out + row * a.n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    if (v >= vectors) continue;
    if (j + kAhead < kVectors) ask(j + kAhead);
    float lane[kLanes], factor[kLanes], summand[kLanes];
    rows::keep_packed(factors[j]);
    rows::keep_packed(summands[j]);
    rows::unpack_again<T>(held[j], lane);
    rows::unpack<T>(factors[j], factor);
    rows::unpack<T>(summands[j], summand);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      lane[i] = fmaf(fmaf(lane[i] - about, inverse, offset), 1.0f + factor[i], summand[i]);
    }
    rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  }
}

template <typename T, bool kGated>
__global__ void __launch_bounds__(1024) adaln_reading_again(Arguments<T> a) {
  __shared__ float scratch[3][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < a.x_rows.rows;
  const int64_t sample = active ? rows::divide(row, a.per_sample) : 0;
  const int64_t end = active ? a.n : 0;
  T* x_row = a.x + (active ? a.x_rows.start(row) : 0);
  const T* scale = a.scale + a.scale_rows.start(sample);
  const T* shift = a.shift + a.shift_rows.start(sample);

  rows::wait_for_previous();
  float sum = 0.0f;
  if constexpr (kGated) {
    const T* gate = a.gate + a.gate_rows.start(sample);
    const T* update = a.update + (active ? a.update_rows.start(row) : 0);
    for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
      x_row[i] = rows::from_float<T>(fmaf(rows::to_float(gate[i]), rows::to_float(update[i]), rows::to_float(x_row[i])));
    }
  }
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) sum += rows::to_float(x_row[i]);
  const float n = static_cast<float>(a.n);
  rows::Moments moments{a.rms ? 0.0f : rows::reduce_row<rows::Add>(sum, scratch[0]) / n, 0.0f, 0.0f, n};

  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) moments.add(rows::to_float(x_row[i]));
  // RMSNorm takes its squares about 0, wherever the mean is.
  moments.sum = a.rms ? 0.0f : rows::reduce_row<rows::Add>(moments.sum, scratch[1]);
  moments.squares = rows::reduce_row<rows::Add>(moments.squares, scratch[2]);
  const float inverse = moments.inverse(a.eps), rest = moments.rest();

  T* out_row = a.out + row * a.n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float normal = ((rows::to_float(x_row[i]) - moments.about) - rest) * inverse;
    out_row[i] = rows::from_float<T>(fmaf(normal, 1.0f + rows::to_float(scale[i]), rows::to_float(shift[i])));
  }
}

template <typename T, bool kGated>
cudaError_t launch(Arguments<T> a, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  bool aligned = a.n % kLanes == 0;
  for (const void* pointer :
       {static_cast<const void*>(a.out), static_cast<const void*>(a.x), static_cast<const void*>(a.update),
        static_cast<const void*>(a.gate), static_cast<const void*>(a.scale), static_cast<const void*>(a.shift)}) {
    aligned = aligned && rows::aligned(pointer);
  }
  for (const Layout* layout : {&a.x_rows, &a.update_rows, &a.gate_rows, &a.scale_rows, &a.shift_rows}) {
    aligned = aligned && layout->aligned(kLanes);
  }
  const rows::Device device = rows::device_of(adaln_reading_again<T, kGated>);
  const int64_t vectors = (a.n + kLanes - 1) / kLanes;
  const bool fits = aligned && vectors <= 4 * rows::threads_of(4);
  const int prefers = kGated ? 3 : rows::three_four_or_six(vectors, a.x_rows.rows, device);
  const rows::Shape shape =
      fits ? rows::shape_for(vectors, a.x_rows.rows, device, prefers) : rows::shape_of_elements(vectors, device);
  const auto run = [&](auto kernel) { return rows::launch(kernel, device, shape, a.x_rows.rows, stream, a); };
  if (!fits) return run(adaln_reading_again<T, kGated>);
  if constexpr (!kGated) {
    if (shape.vectors_per_thread == 6) return run(adaln_in_registers<T, 6, kGated>);
  }
  if (shape.vectors_per_thread == 3) return run(adaln_in_registers<T, 3, kGated>);
  return run(adaln_in_registers<T, 4, kGated>);
}

}  // namespace

// `x` and `update` have rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16), of which `per_sample` share a row
// of `gate`, `scale` and `shift`: the four numbers of each `..._rows` make a `rows::Layout`. `out` is contiguous. Without
// `update` and `gate`, which are then null, x stays as it is. Returns null, or what CUDA says went wrong.
const char* adaln_launch(void* out, void* x, const void* update, const void* gate, const void* scale, const void* shift,
                         const int64_t* x_rows, const int64_t* update_rows, const int64_t* gate_rows, const int64_t* scale_rows,
                         const int64_t* shift_rows, int64_t n, int64_t per_sample, float eps, bool rms, int dtype,
                         void* stream) {
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    const Arguments<T> a{static_cast<T*>(out),
                         static_cast<T*>(x),
                         static_cast<const T*>(update),
                         static_cast<const T*>(gate),
                         static_cast<const T*>(scale),
                         static_cast<const T*>(shift),
                         Layout::of(x_rows),
                         Layout::of(update_rows),
                         Layout::of(gate_rows),
                         Layout::of(scale_rows),
                         Layout::of(shift_rows),
                         n,
                         per_sample,
                         eps,
                         rms};
    const auto run = update != nullptr ? launch<T, true> : launch<T, false>;
    return run(a, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
