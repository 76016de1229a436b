// Softmax over the last dimension: out[r, i] = exp(x[r, i] - m) / sum_j exp(x[r, j] - m), m = max(x[r, :])
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T).
// Limit: DRAM bandwidth; an exponential an element, of which the hardware makes enough.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers: two vectors each, more where it is
// long. Each thread takes its exponentials below its own maximum and keeps them, or takes them again where there are no
// registers for that, so that a single barrier serves maximum and sum: lanes of a warp, then warps through shared memory, then,
// with a barrier of their own, blocks of a cluster, which tell each other both; all in float.
// Read twice, the second time from cache: what a block cannot keep of a row that no cluster holds, and rows that are no
// multiple of 16 bytes or start elsewhere than at one. The first reading keeps a running maximum and rescales the running sum
// whenever it grows.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// exp(x - maximum). 16-bit results do not show the rounding of the product with log2(e); float32 ones would.
template <typename T>
__device__ __forceinline__ float power(float x, float maximum) {
  constexpr float kLog2E = 1.4426950408889634f;
  if constexpr (sizeof(T) == 2) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"((x - maximum) * kLog2E));
    return result;
  }
  return expf(x - maximum);
}

// Where nothing but -inf was seen: exponentials below it are 0, and below any other maximum it is 0 itself.
constexpr float kLowest = -3.402823466e38f;

// Four bytes of elements that add nothing to a sum of exponentials: -inf.
template <typename T>
constexpr uint32_t kNothing = 0xff800000u;
template <>
constexpr uint32_t kNothing<rows::Half> = 0xfc00fc00u;
template <>
constexpr uint32_t kNothing<rows::BFloat16> = 0xff80ff80u;

// The largest element of a vector that is a number.
template <typename T>
__device__ __forceinline__ float largest(const uint4& vector) {
  if constexpr (sizeof(T) == 4 || !rows::kHasMaxOfWords) {
    float lane[rows::kLanes<T>];
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int apart = 1; apart < rows::kLanes<T>; apart *= 2) {
#pragma unroll
      for (int i = 0; i < rows::kLanes<T>; i += 2 * apart) lane[i] = fmaxf(lane[i], lane[i + apart]);
    }
    return lane[0];
  } else {
    const auto larger = [](uint32_t a, uint32_t b) { return rows::max_of_words(a, b, T{}); };
    const float2 of = rows::unpack_word(larger(larger(vector.x, vector.y), larger(vector.z, vector.w)), T{});
    return fmaxf(of.x, of.y);
  }
}

// Maximum and sum over `width` neighbouring lanes, of a lane's own; the sum is below the maximum.
template <typename T>
__device__ __forceinline__ void merge_lanes(float& maximum, float& sum, int width) {
  const float own = maximum;
  maximum = rows::reduce_lanes<rows::Max>(own, width);
  sum = rows::reduce_lanes<rows::Add>(sum * power<T>(own, maximum), width);
}

// The same over the blockDim.x threads that share threadIdx.y. All threads of the block must call. `scratch` is not to be
// reused before a barrier.
template <typename T>
__device__ __forceinline__ void merge(float& maximum, float& sum, float (&scratch)[2][32]) {
  const int width = blockDim.x;
  if (width <= 32) return merge_lanes<T>(maximum, sum, width);
  merge_lanes<T>(maximum, sum, 32);
  const int lane = threadIdx.x & 31, warps = width >> 5, slot = threadIdx.y * warps;
  if (lane == 0) {
    scratch[0][slot + (threadIdx.x >> 5)] = maximum;
    scratch[1][slot + (threadIdx.x >> 5)] = sum;
  }
  __syncthreads();
  maximum = lane < warps ? scratch[0][slot + lane] : kLowest;
  sum = lane < warps ? scratch[1][slot + lane] : 0.0f;
  merge_lanes<T>(maximum, sum, 32);
}

// `kVectors` of the row a thread; eight may be those of a cluster's part of it.
template <typename T, int kVectors>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors, true))
    softmax_in_registers(T* __restrict__ out, const T* __restrict__ x, Layout layout, int n) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[2][32];
  __shared__ rows::FromBlocks<2> slots;

  const unsigned parts = kVectors == 8 ? rows::cluster_size() : 1;
  const int64_t row = parts > 1 ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int first = threadIdx.x + (parts > 1 ? rows::cluster_rank() * kVectors * blockDim.x : 0);
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const auto inside = [&](int j) { return first + j * static_cast<int>(blockDim.x) < vectors; };

  if (parts > 1) rows::expect_others(slots);
  rows::wait_for_previous();
  uint4 held[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    held[j] = make_uint4(kNothing<T>, kNothing<T>, kNothing<T>, kNothing<T>);
    if (inside(j)) held[j] = rows::load(x_row + (first + j * blockDim.x) * kLanes);
  }
  // There are registers for the exponentials of four vectors, or of eight where they are as long as what they are taken of.
  constexpr bool kKept = kVectors < 8 || sizeof(T) == 4;
  float e[kKept ? kVectors : 1][kLanes], own = kLowest, sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) own = fmaxf(own, largest<T>(held[j]));
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float(&lane)[kLanes] = e[kKept ? j : 0];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      lane[i] = power<T>(lane[i], own);
      sum += lane[i];
    }
  }

  float maximum = own;
  merge<T>(maximum, sum, scratch);
  if (parts > 1) {
    float both[2] = {maximum, sum};
    const bool found = rows::exchange(both, slots);
    maximum = found ? both[0] : kLowest;
    sum = found ? both[1] : 0.0f;
    merge_lanes<T>(maximum, sum, 32);
  }
  rows::let_next_start();
  const float factor = power<T>(own, maximum) / sum;

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    if (!inside(j)) continue;
    float(&lane)[kLanes] = e[kKept ? j : 0];
    if constexpr (!kKept) rows::unpack_again<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] = (kKept ? lane[i] : power<T>(lane[i], own)) * factor;
    rows::store(out_row + (first + j * blockDim.x) * kLanes, rows::pack<T>(lane));
  }
}

// The largest so far, and the sum of exponentials below it.
template <typename T>
struct Running {
  float maximum = kLowest, sum = 0.0f;

  __device__ __forceinline__ void raise(float larger) {
    if (larger > maximum) {
      sum *= power<T>(maximum, larger);
      maximum = larger;
    }
  }
};

// Whole vectors; one row a block.
template <typename T>
__global__ void __launch_bounds__(1024)
    softmax_kept_in_part(T* __restrict__ out, const T* __restrict__ x, Layout layout, int64_t n) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[2][32];
  const T* x_row = x + layout.start(blockIdx.x);
  T* out_row = out + blockIdx.x * n;
  const int64_t vectors = n / kLanes;

  rows::wait_for_previous();
  uint4 held[rows::kKept];
  rows::load_kept(x_row, vectors, held);
  Running<T> running;
  const auto add = [&](int64_t, uint4& vector) {
    float lane[kLanes], larger = kLowest;
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) larger = fmaxf(larger, lane[i]);
    running.raise(larger);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) running.sum += power<T>(lane[i], running.maximum);
  };
  rows::each_kept(vectors, held, add);
  rows::each_other(x_row, vectors, add);
  rows::let_next_start();
  merge<T>(running.maximum, running.sum, scratch);
  const float maximum = running.maximum, inverse = 1.0f / running.sum;

  const auto write = [&](int64_t v, uint4& vector) {
    float lane[kLanes];
    rows::keep_packed(vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] = power<T>(lane[i], maximum) * inverse;
    rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  };
  rows::each_kept(vectors, held, write);
  rows::each_other(x_row, vectors, write);
}

template <typename T>
__global__ void __launch_bounds__(1024)
    softmax_by_element(T* __restrict__ out, const T* __restrict__ x, Layout layout, int64_t n) {
  __shared__ float scratch[2][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  rows::wait_for_previous();
  Running<T> running;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float value = rows::to_float(x_row[i]);
    running.raise(value);
    running.sum += power<T>(value, running.maximum);
  }
  merge<T>(running.maximum, running.sum, scratch);
  const float inverse = 1.0f / running.sum;

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    out_row[i] = rows::from_float<T>(power<T>(rows::to_float(x_row[i]), running.maximum) * inverse);
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const Layout& layout, int64_t n, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const rows::Device device = rows::device_of(softmax_by_element<T>);
  const rows::Shape shape =
      aligned ? rows::shape_for(vectors, layout.rows, device) : rows::shape_of_elements(vectors, device);
  const auto run = [&](auto kernel, auto length, auto... more) {
    return rows::launch(kernel, device, shape, layout.rows, stream, out, x, layout, length, more...);
  };
  if (!aligned) return run(softmax_by_element<T>, n);
  const int length = static_cast<int>(n);
  switch (shape.vectors_per_thread) {
    case 2: return run(softmax_in_registers<T, 2>, length);
    case 4: return run(softmax_in_registers<T, 4>, length);
    case 8: return run(softmax_in_registers<T, 8>, length);
    default: return run(softmax_kept_in_part<T>, n);
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
