// Softmax over the last dimension: out[r, i] = exp(x[r, i] - m) / sum_j exp(x[r, j] - m), m = max(x[r, :])
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T).
// Limit: DRAM bandwidth; two exponentials an element, of which the hardware makes enough.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers. Maximum and sum are in float: lanes of
// a warp, then warps through shared memory, then blocks of a cluster.
// Read twice: rows too long for that, and rows that are no multiple of 16 bytes or start elsewhere than at one. The first reading
// keeps a running maximum and rescales the running sum whenever it grows.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "rows.cuh"

namespace {

using rows::Layout;

// exp(x - maximum). 16-bit results do not show the rounding of the product with log2(e); float32 ones would.
template <typename T>
__device__ __forceinline__ float power(float x, float maximum) {
  constexpr float kLog2E = 1.4426950408889634f;
  if constexpr (sizeof(T) == 2) return exp2f((x - maximum) * kLog2E);
  return expf(x - maximum);
}

template <typename T, int kVectors, bool kClustered>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors))
    softmax_in_registers(T* __restrict__ out, const T* __restrict__ x, Layout layout, int n) {
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
  float maximum = -INFINITY;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    if (first + j * static_cast<int>(blockDim.x) >= vectors) continue;
    float lane[kLanes];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) maximum = fmaxf(maximum, lane[i]);
  }
  maximum = rows::reduce_row<rows::Max>(maximum, scratch[0]);
  if constexpr (kClustered) {
    maximum = rows::reduce_cluster<rows::Max>(maximum, &slot[0]);
    rows::cluster_wait();
  }

  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    if (first + j * static_cast<int>(blockDim.x) >= vectors) continue;
    float lane[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum += power<T>(lane[i], maximum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch[1]);
  if constexpr (kClustered) sum = rows::reduce_cluster<rows::Add>(sum, &slot[1]);
  const float inverse = 1.0f / sum;

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    if (v >= vectors) continue;
    float lane[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] = power<T>(lane[i], maximum) * inverse;
    rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  }
  if constexpr (kClustered) rows::cluster_wait();
}

// `kLanes` elements at a time: 16 bytes, or one where the rows are not aligned.
template <typename T, int kLanes>
__global__ void __launch_bounds__(1024)
    softmax_reading_twice(T* __restrict__ out, const T* __restrict__ x, Layout layout, int64_t n) {
  __shared__ float scratch[2][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * kLanes, step = static_cast<int64_t>(blockDim.x) * kLanes;

  float seen = -INFINITY, sum = 0.0f;
  for (int64_t i = first; i < end; i += step) {
    float lane[kLanes];
    rows::read<T, kLanes>(x_row + i, lane);
    float larger = seen;
#pragma unroll
    for (int j = 0; j < kLanes; ++j) larger = fmaxf(larger, lane[j]);
    if (larger > seen) {
      sum *= expf(seen - larger);
      seen = larger;
    }
    // Nothing but -inf so far adds nothing; a NaN must.
#pragma unroll
    for (int j = 0; j < kLanes; ++j) sum += lane[j] == -INFINITY ? 0.0f : expf(lane[j] - seen);
  }
  const float maximum = rows::reduce_row<rows::Max>(seen, scratch[0]);
  sum = rows::reduce_row<rows::Add>(seen == -INFINITY ? sum : sum * expf(seen - maximum), scratch[1]);
  const float inverse = 1.0f / sum;

  T* out_row = out + row * n;
  for (int64_t i = first; i < end; i += step) {
    float lane[kLanes];
    rows::read<T, kLanes>(x_row + i, lane);
#pragma unroll
    for (int j = 0; j < kLanes; ++j) lane[j] = expf(lane[j] - maximum) * inverse;
    rows::write<T, kLanes>(out_row + i, lane);
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const Layout& layout, int64_t n, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const bool clusters = aligned && vectors > rows::kMostOfABlock && rows::made_for_clusters(softmax_in_registers<T, 4, true>);
  const rows::Shape shape = rows::shape_for(vectors, clusters);
  const auto run = [&](auto kernel, auto length) {
    return rows::launch(kernel, shape, layout.rows, stream, out, x, layout, length);
  };
  if (!aligned) return run(softmax_reading_twice<T, 1>, n);
  const int length = static_cast<int>(n);
  if (shape.blocks > 1) return run(softmax_in_registers<T, 4, true>, length);
  switch (shape.vectors_per_thread) {
    case 2: return run(softmax_in_registers<T, 2, false>, length);
    case 4: return run(softmax_in_registers<T, 4, false>, length);
    case 8: return run(softmax_in_registers<T, 8, false>, length);
    default: return run(softmax_reading_twice<T, kLanes>, n);
  }
}

}  // namespace

// `x` has rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `x_rows` make a
// `rows::Layout`; `out` is contiguous. Returns null, or what CUDA says went wrong.
const char* softmax_launch(void* out, const void* x, const int64_t* x_rows, int64_t n, int dtype, void* stream) {
  const Layout layout = Layout::of(x_rows);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(x), layout, n, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
