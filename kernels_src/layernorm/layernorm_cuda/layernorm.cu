// LayerNorm over the last dimension:
//   out[r, i] = (x[r, i] - mean(x[r, :])) / sqrt(var(x[r, :]) + eps) * weight[i] + bias[i]
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T); weight and bias come from cache.
// Limit: DRAM bandwidth; six floating-point operations an element are free.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers, so that the variance is taken from
// differences from a mean, which stays right where the mean is large (moments.cuh). Sums are in float: lanes of a warp, then
// warps through shared memory, then blocks of a cluster.
// Read again from cache: what a block cannot keep of a longer row, and rows that are no multiple of 16 bytes or start elsewhere
// than at one.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "launch.cuh"
#include "moments.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// The `v`-th vector of weight or bias, `otherwise` where there is none.
template <typename T>
__device__ __forceinline__ void read_or(const T* vector, int64_t v, float otherwise, float (&lane)[rows::kLanes<T>]) {
  if (vector != nullptr) {
    rows::unpack<T>(rows::load_shared_by_rows(vector + v * rows::kLanes<T>), lane);
  } else {
#pragma unroll
    for (float& each : lane) each = otherwise;
  }
}

template <typename T, int kVectors, bool kClustered>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors, true))
    layernorm_in_registers(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, Layout layout, int n, float eps, bool streaming) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[3][32], slots[3];

  const unsigned parts = kClustered ? rows::cluster_size() : 1;
  const int64_t row = kClustered ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int before = kClustered ? rows::cluster_rank() * kVectors * blockDim.x : 0;
  const int first = threadIdx.x + before;
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  rows::wait_for_previous();
  uint4 held[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    held[j] = v < vectors ? rows::load_once(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  // Beside the row and its sums there are no registers for weight and bias.
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    if (weight != nullptr && v < vectors) rows::prefetch_at_first(weight + v * kLanes);
    if (bias != nullptr && v < vectors) rows::prefetch_at_first(bias + v * kLanes);
  }
  rows::let_next_start();
  rows::Moments moments = rows::moments_in_registers<T>(held, vectors - before, scratch);
  if constexpr (kClustered) {
    const float sum = fmaf(moments.about, moments.count, moments.sum);
    moments.move(rows::reduce_cluster<rows::Add>(sum, &slots[0]) / static_cast<float>(n));
    rows::cluster_wait();
    float sums[2] = {moments.sum, moments.squares};
    rows::reduce_cluster<rows::Add>(sums, &slots[1]);
    moments = {moments.about, sums[0], sums[1], static_cast<float>(n)};
  }
  const float inverse = moments.inverse(eps), offset = -moments.rest() * inverse;

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    if (v >= vectors) continue;
    float scale[kLanes], shift[kLanes], lane[kLanes];
    read_or<T>(weight, v, 1.0f, scale);
    read_or<T>(bias, v, 0.0f, shift);
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      lane[i] = fmaf(fmaf(lane[i] - moments.about, inverse, offset), scale[i], shift[i]);
    }
    rows::store(out_row + v * kLanes, rows::pack<T>(lane), streaming);
  }
  if constexpr (kClustered) rows::cluster_wait();
}

// Whole vectors; one row a block. What is kept, at least 16384 elements, gives the mean that all sums are taken about.
template <typename T>
__global__ void __launch_bounds__(1024)
    layernorm_kept_in_part(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, Layout layout, int64_t n, float eps, bool streaming) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[3][32];
  const T* x_row = x + layout.start(blockIdx.x);
  T* out_row = out + blockIdx.x * n;
  const int64_t vectors = n / kLanes;

  rows::wait_for_previous();
  uint4 held[rows::kKept];
  rows::load_kept(x_row, vectors, held);
  float sum = 0.0f;
  rows::each_kept(vectors, held, [&](int64_t, uint4& vector) {
    float lane[kLanes];
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum += lane[i];
  });
  const int64_t kept = min(vectors, static_cast<int64_t>(rows::kKept * blockDim.x)) * kLanes;
  rows::Moments moments{rows::reduce_row<rows::Add>(sum, scratch[0]) / static_cast<float>(kept), 0.0f, 0.0f,
                        static_cast<float>(n)};
  const auto add = [&](int64_t, uint4& vector) {
    float lane[kLanes];
    rows::keep_packed(vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) moments.add(lane[i]);
  };
  rows::each_kept(vectors, held, add);
  rows::each_other(x_row, vectors, add);
  rows::let_next_start();
  moments.sum = rows::reduce_row<rows::Add>(moments.sum, scratch[1]);
  moments.squares = rows::reduce_row<rows::Add>(moments.squares, scratch[2]);
  const float inverse = moments.inverse(eps), offset = -moments.rest() * inverse;

  const auto write = [&](int64_t v, uint4& vector) {
    float lane[kLanes], scale[kLanes], shift[kLanes];
    read_or<T>(weight, v, 1.0f, scale);
    read_or<T>(bias, v, 0.0f, shift);
    rows::keep_packed(vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      lane[i] = fmaf(fmaf(lane[i] - moments.about, inverse, offset), scale[i], shift[i]);
    }
    rows::store(out_row + v * kLanes, rows::pack<T>(lane), streaming);
  };
  rows::each_kept(vectors, held, write);
  rows::each_other(x_row, vectors, write);
}

template <typename T>
__global__ void __launch_bounds__(1024)
    layernorm_by_element(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                         Layout layout, int64_t n, float eps) {
  __shared__ float scratch[3][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  rows::wait_for_previous();
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) sum += rows::to_float(x_row[i]);
  const float count = static_cast<float>(n);
  rows::Moments moments{rows::reduce_row<rows::Add>(sum, scratch[0]) / count, 0.0f, 0.0f, count};
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) moments.add(rows::to_float(x_row[i]));
  moments.sum = rows::reduce_row<rows::Add>(moments.sum, scratch[1]);
  moments.squares = rows::reduce_row<rows::Add>(moments.squares, scratch[2]);
  const float inverse = moments.inverse(eps), offset = -moments.rest() * inverse;

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float scale = weight != nullptr ? rows::to_float(weight[i]) : 1.0f;
    const float shift = bias != nullptr ? rows::to_float(bias[i]) : 0.0f;
    out_row[i] =
        rows::from_float<T>(fmaf(fmaf(rows::to_float(x_row[i]) - moments.about, inverse, offset), scale, shift));
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const T* weight, const T* bias, const Layout& layout, int64_t n, float eps,
                   cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x) &&
                       rows::aligned(weight) && rows::aligned(bias);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const rows::Device device = rows::device_of(layernorm_by_element<T>);
  const rows::Shape shape = rows::shape_for(vectors, aligned && device.few(layout.rows));
  const bool streaming = device.streams(2 * layout.rows * n * static_cast<int64_t>(sizeof(T)));
  const auto run = [&](auto kernel, auto length, auto... more) {
    return rows::launch(kernel, device, shape, layout.rows, stream, out, x, weight, bias, layout, length, eps, more...);
  };
  if (!aligned) return run(layernorm_by_element<T>, n);
  const int length = static_cast<int>(n);
  if (shape.blocks > 1) return run(layernorm_in_registers<T, 4, true>, length, streaming);
  switch (shape.vectors_per_thread) {
    case 2: return run(layernorm_in_registers<T, 2, false>, length, streaming);
    case 4: return run(layernorm_in_registers<T, 4, false>, length, streaming);
    default: return run(layernorm_kept_in_part<T>, n, streaming);
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
