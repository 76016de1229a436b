// Addition to the residual stream, then RMSNorm over the last dimension:
//   residual[r, i] += x[r, i]
//   out[r, i] = residual[r, i] / sqrt(mean(residual[r, :]^2) + eps) * (weight[i] + weight_offset)
//
// Bytes moved: x and residual are read once, residual and out written once, 4 * rows * n * sizeof(T); the weight is cached.
// Limit: DRAM bandwidth; five floating-point operations an element are free.
// Rule: `shape_for` gives each row of two streams so many threads that they hold it in registers. Sums are in float: lanes of a
// warp, then warps through shared memory, then blocks of the cluster that shares a long row. Where rows are many and no cluster
// shares them, the residual is stored with the result. Rows that together far exceed L2 and take one vector a thread, or four,
// stay there until they are used and are then let go.
// Read again, from cache: the sums that a block cannot keep of a row that no cluster holds, and rows that are no multiple of 16
// bytes or start elsewhere than at one.
// One source from sm_75 to sm_121; only clusters and the hint to L2 ask for more than sm_75 has.

#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// Two vectors a thread are for rows that would fill a block of 512 threads with four: 1024 of them are ahead in 32 bits.
constexpr int threads_of(int vectors_per_thread) {
  return vectors_per_thread == 2 ? 1024 : rows::threads_of(vectors_per_thread);
}
constexpr int blocks_per_sm(int vectors_per_thread) {
  return vectors_per_thread == 2 ? 1 : rows::blocks_per_sm(vectors_per_thread, true);
}

// `together`: the residual is stored with the result, not before the sum.
template <typename T, int kVectors, bool kClustered, bool kStays = false>
__global__ void __launch_bounds__(threads_of(kVectors), blocks_per_sm(kVectors))
    add_rmsnorm_in_registers(T* __restrict__ out, T* __restrict__ residual, const T* __restrict__ x,
                             const T* __restrict__ weight, Layout layout, Layout residual_layout, int n, float eps,
                             float weight_offset, bool together) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[32];
  __shared__ rows::FromBlocks<1> slots;

  const unsigned parts = kClustered ? rows::cluster_size() : 1;
  const int64_t row = kClustered ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int first = threadIdx.x + (kClustered ? rows::cluster_rank() * kVectors * blockDim.x : 0);
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  T* residual_row = residual + (active ? residual_layout.start(row) : 0);
  if constexpr (kClustered) rows::expect_others(slots);
  rows::wait_for_previous();
  uint4 held[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    held[j] = v < vectors ? rows::load_to_stay<kStays>(residual_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  uint4 added[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    added[j] = v < vectors ? rows::load_to_stay<kStays>(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[kLanes], more[kLanes];
    rows::unpack<T>(held[j], lane);
    rows::unpack<T>(added[j], more);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] += more[i];
    // What is normalised is the sum as the next layer will see it: rounded.
    held[j] = rows::pack<T>(lane);
    const int v = first + j * blockDim.x;
    rows::store_if(!together && v < vectors, residual_row + v * kLanes, held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fmaf(lane[i], lane[i], sum);
  }
  // Only now, when x has left its registers.
  uint4 scale[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    scale[j] = rows::load_shared_by_rows(weight + v * kLanes, weight != nullptr && v < vectors);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  if constexpr (kClustered) sum = rows::reduce_cluster<rows::Add>(sum, slots);
  rows::let_next_start();
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);
  const float offset = weight != nullptr ? inverse * weight_offset : inverse;

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    float lane[kLanes], factor[kLanes];
    rows::unpack_again<T>(held[j], lane);
    rows::unpack<T>(scale[j], factor);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] *= fmaf(factor[i], inverse, offset);
    if constexpr (kClustered) {
      if (v < vectors) rows::store(out_row + v * kLanes, rows::pack<T>(lane));
      continue;
    }
    rows::store_if(together && v < vectors, residual_row + v * kLanes, held[j]);
    if (v < vectors) {
      rows::let_go<kStays>(x_row + v * kLanes);
      rows::let_go<kStays>(residual_row + v * kLanes);
    }
    rows::store_if(v < vectors, out_row + v * kLanes, rows::pack<T>(lane));
  }
}

// Whole vectors; one row a block.
template <typename T>
__global__ void __launch_bounds__(1024)
    add_rmsnorm_kept_in_part(T* __restrict__ out, T* __restrict__ residual, const T* __restrict__ x,
                             const T* __restrict__ weight, Layout layout, Layout residual_layout, int64_t n, float eps,
                             float weight_offset) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[32];
  const T* x_row = x + layout.start(blockIdx.x);
  T* residual_row = residual + residual_layout.start(blockIdx.x);
  T* out_row = out + blockIdx.x * n;
  const int64_t vectors = n / kLanes;

  rows::wait_for_previous();
  float sum = 0.0f;
  const auto add = [&](int64_t v, uint4& vector) {
    float lane[kLanes], more[kLanes];
    rows::unpack<T>(vector, lane);
    rows::unpack<T>(rows::load(x_row + v * kLanes), more);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] += more[i];
    vector = rows::pack<T>(lane);
    rows::store(residual_row + v * kLanes, vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fmaf(lane[i], lane[i], sum);
  };
  uint4 held[rows::kKept];
  rows::load_kept(residual_row, vectors, held);
  rows::each_kept(vectors, held, add);
  rows::each_other(residual_row, vectors, add);
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
  rows::each_other(residual_row, vectors, write);  // its own writes: no other thread wrote these vectors
}

template <typename T>
__global__ void __launch_bounds__(1024)
    add_rmsnorm_by_element(T* __restrict__ out, T* __restrict__ residual, const T* __restrict__ x, const T* __restrict__ weight,
                           Layout layout, Layout residual_layout, int64_t n, float eps, float weight_offset) {
  __shared__ float scratch[32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  T* residual_row = residual + (active ? residual_layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  rows::wait_for_previous();
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    residual_row[i] = rows::from_float<T>(rows::to_float(residual_row[i]) + rows::to_float(x_row[i]));
    const float value = rows::to_float(residual_row[i]);
    sum = fmaf(value, value, sum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float factor = weight != nullptr ? rows::to_float(weight[i]) + weight_offset : 1.0f;
    out_row[i] = rows::from_float<T>(rows::to_float(residual_row[i]) * inverse * factor);
  }
}

// Four vectors a thread, since 16-bit elements take twice the instructions a byte; in 32 bits rows of more than 512 vectors get
// as many threads as a block may have, as far as those hold them with two.
template <typename T>
rows::Shape shape_for(int64_t vectors, int64_t rows, const rows::Device& device) {
  if (sizeof(T) == 2 || vectors <= 512 || vectors > 2048) return rows::shape_for(vectors, rows, device, 4, 4);
  if (vectors <= 1024) return rows::shape_for(vectors, rows, device, 1);
  rows::Shape shape = rows::shape_for((vectors + 1) / 2, rows, device, 1);
  shape.vectors_per_thread = 2;
  return shape;
}

template <typename T>
cudaError_t launch(T* out, T* residual, const T* x, const T* weight, const Layout& layout, const Layout& residual_layout,
                   int64_t n, float eps, float weight_offset, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && residual_layout.aligned(kLanes) && rows::aligned(out) &&
                       rows::aligned(residual) && rows::aligned(x) && rows::aligned(weight);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const rows::Device device = rows::device_of(add_rmsnorm_by_element<T>);
  const rows::Shape shape = aligned ? shape_for<T>(vectors, layout.rows, device) : rows::shape_of_elements(vectors, device);
  const auto run = [&](auto kernel, auto length, auto... more) {
    return rows::launch(kernel, device, shape, layout.rows, stream, out, residual, x, weight, layout, residual_layout, length,
                        eps, weight_offset, more...);
  };
  if (!aligned) return run(add_rmsnorm_by_element<T>, n);
  const int length = static_cast<int>(n);
  // Few rows are done the sooner the earlier they start to store; of many, loads and stores get in each other's way less.
  const bool together = layout.rows > 4 * device.sms;
  if (shape.blocks > 1) return run(add_rmsnorm_in_registers<T, 4, true>, length, false);
  const bool stays = rows::far_exceed_l2(4 * layout.rows * n * sizeof(T), device);
  if (shape.vectors_per_thread == 4) {
    return run(stays ? add_rmsnorm_in_registers<T, 4, false, true> : add_rmsnorm_in_registers<T, 4, false>, length, together);
  }
  if constexpr (sizeof(T) == 4) {
    if (shape.vectors_per_thread == 2) return run(add_rmsnorm_in_registers<T, 2, false>, length, false);
    if (shape.vectors_per_thread == 1) {
      return run(stays ? add_rmsnorm_in_registers<T, 1, false, true> : add_rmsnorm_in_registers<T, 1, false>, length, false);
    }
  }
  return run(add_rmsnorm_kept_in_part<T>, n);
}

}  // namespace

// Tensors of rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `..._rows` make a
// `rows::Layout`; `out` is contiguous; `weight` has n elements or is null. Returns null, or what CUDA says went wrong.
const char* add_rmsnorm_launch(void* out, void* residual, const void* x, const void* weight, const int64_t* x_rows,
                               const int64_t* residual_rows, int64_t n, float eps, float weight_offset, int dtype,
                               void* stream) {
  const Layout layout = Layout::of(x_rows), residual_layout = Layout::of(residual_rows);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<T*>(residual), static_cast<const T*>(x), static_cast<const T*>(weight),
                     layout, residual_layout, n, eps, weight_offset, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
