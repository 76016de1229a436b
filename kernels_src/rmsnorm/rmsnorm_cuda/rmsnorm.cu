// RMSNorm over the last dimension:
//   out[r, i] = x[r, i] / sqrt(mean(x[r, :]^2) + eps) * (weight[i] + weight_offset)
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T); the weight comes from cache.
// Limit: DRAM bandwidth; four floating-point operations an element are free.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers: two vectors each, more where it is
// long. Rows of 32 KB at most that together far exceed L2 take four, stay there until they are used and are then let go. Sums
// are in float: lanes of a warp, then warps through shared memory, then blocks of a cluster.
// Read twice, the second time from cache: what a block cannot keep of a row that no cluster holds, and rows that are no
// multiple of 16 bytes or start elsewhere than at one.
// One source from sm_75 to sm_121; only clusters and the hint to L2 ask for more than sm_75 has.

#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// `kVectors` of the row a thread; eight may be those of a cluster's part of it. `kStays` for rows that far exceed L2.
template <typename T, int kVectors, bool kStays = false>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors))
    rmsnorm_in_registers(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, Layout layout, int n,
                         float eps, float weight_offset) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[32];
  __shared__ rows::FromBlocks<1> slots;

  const unsigned parts = kVectors == 8 ? rows::cluster_size() : 1;
  const int64_t row = parts > 1 ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int first = threadIdx.x + (parts > 1 ? rows::cluster_rank() * kVectors * blockDim.x : 0);
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  if (parts > 1) rows::expect_others(slots);
  rows::wait_for_previous();
  uint4 held[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    held[j] = v < vectors ? rows::load_to_stay<kStays>(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  uint4 scale[kVectors];
  const auto fetch = [&](int j) {
    const int v = first + j * blockDim.x;
    scale[j] = rows::load_shared_by_rows(weight + v * kLanes, weight != nullptr && v < vectors);
  };
  // Beside eight vectors there are registers for three of the weight at most: the others follow one by one.
  constexpr int kAhead = kVectors < 8 ? kVectors : rows::kRoomBesideEight ? 3 : 0;
#pragma unroll
  for (int j = 0; j < kAhead; ++j) fetch(j);
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[kLanes];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fmaf(lane[i], lane[i], sum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  if (parts > 1) sum = rows::reduce_cluster<rows::Add>(sum, slots);
  rows::let_next_start();
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);
  const float offset = weight != nullptr ? inverse * weight_offset : inverse;

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    if (j + kAhead < kVectors) fetch(j + kAhead);
    const int v = first + j * blockDim.x;
    float lane[kLanes], factor[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
    rows::unpack<T>(scale[j], factor);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] *= fmaf(factor[i], inverse, offset);
    if (v < vectors) rows::let_go<kStays>(x_row + v * kLanes);
    rows::store_if(v < vectors, out_row + v * kLanes, rows::pack<T>(lane));
  }
}

// Whole vectors; one row a block.
template <typename T>
__global__ void __launch_bounds__(1024) rmsnorm_kept_in_part(T* __restrict__ out, const T* __restrict__ x,
                                                             const T* __restrict__ weight, Layout layout, int64_t n, float eps,
                                                             float weight_offset) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[32];
  const T* x_row = x + layout.start(blockIdx.x);
  T* out_row = out + blockIdx.x * n;
  const int64_t vectors = n / kLanes;

  rows::wait_for_previous();
  uint4 held[rows::kKept];
  rows::load_kept(x_row, vectors, held);
  float sum = 0.0f;
  const auto add = [&](int64_t, uint4& vector) {
    float lane[kLanes];
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fmaf(lane[i], lane[i], sum);
  };
  rows::each_kept(vectors, held, add);
  rows::each_other(x_row, vectors, add);
  rows::let_next_start();
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);

  const auto write = [&](int64_t v, uint4& vector) {
    float lane[kLanes];
    rows::keep_packed(vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] *= inverse;
    if (weight != nullptr) {
      float factor[kLanes];
      rows::unpack<T>(rows::load_shared_by_rows(weight + v * kLanes), factor);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) lane[i] *= factor[i] + weight_offset;
    }
    rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  };
  rows::each_kept(vectors, held, write);
  rows::each_other(x_row, vectors, write);
}

template <typename T>
__global__ void __launch_bounds__(1024)
    rmsnorm_by_element(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, Layout layout, int64_t n,
                       float eps, float weight_offset) {
  __shared__ float scratch[32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  rows::wait_for_previous();
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float value = rows::to_float(x_row[i]);
    sum = fmaf(value, value, sum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float factor = weight != nullptr ? rows::to_float(weight[i]) + weight_offset : 1.0f;
    out_row[i] = rows::from_float<T>(rows::to_float(x_row[i]) * inverse * factor);
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const T* weight, const Layout& layout, int64_t n, float eps, float weight_offset,
                   cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned =
      n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x) && rows::aligned(weight);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const rows::Device device = rows::device_of(rmsnorm_by_element<T>);
  const bool stays = rows::far_exceed_l2(2 * layout.rows * n * sizeof(T), device);
  const rows::Shape shape =
      aligned ? rows::shape_for(vectors, layout.rows, device, stays ? 4 : 2) : rows::shape_of_elements(vectors, device);
  const auto run = [&](auto kernel, auto length, auto... more) {
    return rows::launch(kernel, device, shape, layout.rows, stream, out, x, weight, layout, length, eps, weight_offset,
                        more...);
  };
  if (!aligned) return run(rmsnorm_by_element<T>, n);
  const int length = static_cast<int>(n);
  switch (shape.vectors_per_thread) {
    case 2: return run(rmsnorm_in_registers<T, 2>, length);
    case 4: return run(stays ? rmsnorm_in_registers<T, 4, true> : rmsnorm_in_registers<T, 4>, length);
    case 8: return run(rmsnorm_in_registers<T, 8>, length);
    default: return run(rmsnorm_kept_in_part<T>, n);
  }
}

}  // namespace

// `x` has rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `x_rows` make a
// `rows::Layout`; `out` is contiguous; `weight` has n elements or is null. Returns null, or what CUDA says went wrong.
const char* rmsnorm_launch(void* out, const void* x, const void* weight, const int64_t* x_rows, int64_t n, float eps,
                           float weight_offset, int dtype, void* stream) {
  const Layout layout = Layout::of(x_rows);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(x), static_cast<const T*>(weight), layout, n, eps,
                     weight_offset, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
