// LayerNorm over the last dimension:
//   out[r, i] = (x[r, i] - mean(x[r, :])) / sqrt(var(x[r, :]) + eps) * weight[i] + bias[i]
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T); weight and bias come from cache.
// Limit: DRAM bandwidth; six floating-point operations an element are free.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers, so that the variance is taken from
// differences from the mean, which stays right where the mean is large. Sums are in float: lanes of a warp, then warps through
// shared memory, then blocks of a cluster.
// Read again from cache: rows too long for that, and rows that are no multiple of 16 bytes or start elsewhere than at one.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "rows.cuh"

namespace {

using rows::Layout;

template <typename T, int kVectors, bool kClustered>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors, 2))
    layernorm_in_registers(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, Layout layout, int n, float eps) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[2][32], slot[2];

  const unsigned parts = kClustered ? rows::cluster_size() : 1;
  const int64_t row = kClustered ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int first = threadIdx.x + (kClustered ? rows::cluster_rank() * kVectors * blockDim.x : 0);
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  uint4 held[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    held[j] = v < vectors ? rows::load_once(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[kLanes];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum += lane[i];
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch[0]);
  if constexpr (kClustered) {
    sum = rows::reduce_cluster<rows::Add>(sum, &slot[0]);
    rows::cluster_wait();
  }
  const float mean = sum / static_cast<float>(n);

  float squares = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    float lane[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      const float difference = v < vectors ? lane[i] - mean : 0.0f;
      squares = fmaf(difference, difference, squares);
    }
  }
  const auto fetch = [&](const T* vector, uint4(&into)[kVectors]) {
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      const int v = first + j * blockDim.x;
      if (vector != nullptr && v < vectors) into[j] = rows::load_shared_by_rows(vector + v * kLanes);
    }
  };
  // The one before the last sum, so that its latency hides behind it; there are no registers for the other.
  uint4 scale[kVectors], shift[kVectors];
  fetch(weight, scale);
  squares = rows::reduce_row<rows::Add>(squares, scratch[1]);
  if constexpr (kClustered) squares = rows::reduce_cluster<rows::Add>(squares, &slot[1]);
  const float inverse = rsqrtf(squares / static_cast<float>(n) + eps);
  fetch(bias, shift);

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    float lane[kLanes], other[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] = (lane[i] - mean) * inverse;
    if (weight != nullptr) {
      rows::unpack<T>(scale[j], other);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) lane[i] *= other[i];
    }
    if (bias != nullptr) {
      rows::unpack<T>(shift[j], other);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) lane[i] += other[i];
    }
    if (v < vectors) rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  }
  if constexpr (kClustered) rows::cluster_wait();
}

// `kLanes` elements at a time: 16 bytes, or one where the rows are not aligned.
template <typename T, int kLanes>
__global__ void __launch_bounds__(1024)
    layernorm_reading_again(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                            const T* __restrict__ bias, Layout layout, int64_t n, float eps) {
  __shared__ float scratch[2][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kLanes, step = static_cast<int64_t>(blockDim.x) * kLanes;

  float sum = 0.0f;
  for (int64_t i = first; i < end; i += step) {
    float lane[kLanes];
    rows::read<T, kLanes>(x_row + i, lane);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) sum += lane[j];
  }
  const float mean = rows::reduce_row<rows::Add>(sum, scratch[0]) / static_cast<float>(n);

  float squares = 0.0f;
  for (int64_t i = first; i < end; i += step) {
    float lane[kLanes];
    rows::read<T, kLanes>(x_row + i, lane);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) squares = fmaf(lane[j] - mean, lane[j] - mean, squares);
  }
  squares = rows::reduce_row<rows::Add>(squares, scratch[1]);
  const float inverse = rsqrtf(squares / static_cast<float>(n) + eps);

  T* out_row = out + row * n;
  for (int64_t i = first; i < end; i += step) {
    float lane[kLanes], other[kLanes];
    rows::read<T, kLanes>(x_row + i, lane);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) lane[j] = (lane[j] - mean) * inverse;
    if (weight != nullptr) {
      rows::read<T, kLanes>(weight + i, other);
#pragma unroll
      for (int j = 0; j < kLanes; ++j) lane[j] *= other[j];
    }
    if (bias != nullptr) {
      rows::read<T, kLanes>(bias + i, other);
#pragma unroll
      for (int j = 0; j < kLanes; ++j) lane[j] += other[j];
    }
    rows::write<T, kLanes>(out_row + i, lane);
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const T* weight, const T* bias, const Layout& layout, int64_t n, float eps,
                   cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x) &&
                       rows::aligned(weight) && rows::aligned(bias);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const bool clusters = aligned && vectors > rows::kMostOfABlock && rows::made_for_clusters(layernorm_in_registers<T, 4, true>);
  const rows::Shape shape = rows::shape_for(vectors, clusters);
  const auto run = [&](auto kernel, auto length) {
    return rows::launch(kernel, shape, layout.rows, stream, out, x, weight, bias, layout, length, eps);
  };
  if (!aligned) return run(layernorm_reading_again<T, 1>, n);
  const int length = static_cast<int>(n);
  if (shape.blocks > 1) return run(layernorm_in_registers<T, 4, true>, length);
  switch (shape.vectors_per_thread) {
    case 2: return run(layernorm_in_registers<T, 2, false>, length);
    case 4: return run(layernorm_in_registers<T, 4, false>, length);
    default: return run(layernorm_reading_again<T, kLanes>, n);
  }
}

}  // namespace

// `x` has rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `x_rows` make a
// `rows::Layout`; `out` is contiguous; `weight` and `bias` have n elements or are null. Returns null, or what CUDA says went
// wrong.
const char* layernorm_launch(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n,
                             float eps, int dtype, void* stream) {
  const Layout layout = Layout::of(x_rows);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(bias),
                     layout, n, eps, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
