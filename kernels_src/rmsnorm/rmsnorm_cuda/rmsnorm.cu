// RMSNorm over the last dimension:
//   out[r, i] = x[r, i] / sqrt(mean(x[r, :]^2) + eps) * (weight[i] + weight_offset)
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T), and the weight once (it stays in L2).
// Limit: DRAM bandwidth; three floating-point operations an element are free.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers, two 16-byte vectors each while
// that takes at most 512 threads. Sums are in float: lanes, then warps through shared memory.
// Rows that no block holds in registers, are not a multiple of 16 bytes, or start at addresses that are none, are read twice,
// the second time from cache.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "rows.cuh"

namespace {

using rows::Layout;

template <typename T, int kVectors>
__global__ void __launch_bounds__(kVectors <= 4 ? 512 : 1024, kVectors <= 2 ? rows::kThreadsPerSm / 512 : 1)
    rmsnorm_in_registers(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, Layout layout, int n,
                         float eps, float weight_offset) {
  constexpr int kLanes = rows::kLanes<T>;
  // With few vectors the weight is fetched beside the row; with many it would cost the registers that hold the row.
  constexpr bool kWeightEarly = kVectors <= 2;
  __shared__ float scratch[32];

  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  uint4 held[kVectors];
  uint4 scale[kWeightEarly ? kVectors : 1];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    held[j] = v < vectors ? rows::load_once(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  if constexpr (kWeightEarly) {
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      const int v = threadIdx.x + j * blockDim.x;
      if (weight != nullptr && v < vectors) scale[j] = rows::load_shared_by_rows(weight + v * kLanes);
    }
  }

  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[kLanes];
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum = fmaf(lane[i], lane[i], sum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    if (v >= vectors) continue;
    float lane[kLanes];
    rows::keep_packed(held[j]);
    rows::unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) lane[i] *= inverse;
    if (weight != nullptr) {
      float factor[kLanes];
      rows::unpack<T>(kWeightEarly ? scale[kWeightEarly ? j : 0] : rows::load_shared_by_rows(weight + v * kLanes), factor);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) lane[i] *= factor[i] + weight_offset;
    }
    rows::store(out_row + v * kLanes, rows::pack<T>(lane));
  }
}

template <typename T>
__global__ void __launch_bounds__(1024)
    rmsnorm_reading_twice(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, Layout layout,
                          int64_t n, float eps, float weight_offset) {
  __shared__ float scratch[32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float value = rows::to_float(x_row[i]);
    sum = fmaf(value, value, sum);
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch);
  const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float factor = weight == nullptr ? 1.0f : rows::to_float(weight[i]) + weight_offset;
    out_row[i] = rows::from_float<T>(rows::to_float(x_row[i]) * inverse * factor);
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const T* weight, const Layout& layout, int64_t n, float eps, float weight_offset,
                   cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool vectorised = n % kLanes == 0 && layout.inner_stride % kLanes == 0 && layout.outer_stride % kLanes == 0 &&
                          rows::aligned(out) && rows::aligned(x) && rows::aligned(weight);
  const rows::Shape shape = rows::shape_for((n + kLanes - 1) / kLanes);
  const dim3 block(shape.threads, shape.rows_per_block);
  const int64_t blocks = (layout.rows + shape.rows_per_block - 1) / shape.rows_per_block;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const dim3 grid(static_cast<unsigned>(blocks));

  if (!vectorised || shape.vectors_per_thread == 0) {
    rmsnorm_reading_twice<T><<<grid, block, 0, stream>>>(out, x, weight, layout, n, eps, weight_offset);
  } else if (shape.vectors_per_thread == 2) {
    rmsnorm_in_registers<T, 2><<<grid, block, 0, stream>>>(out, x, weight, layout, static_cast<int>(n), eps, weight_offset);
  } else if (shape.vectors_per_thread == 4) {
    rmsnorm_in_registers<T, 4><<<grid, block, 0, stream>>>(out, x, weight, layout, static_cast<int>(n), eps, weight_offset);
  } else {
    rmsnorm_in_registers<T, 8><<<grid, block, 0, stream>>>(out, x, weight, layout, static_cast<int>(n), eps, weight_offset);
  }
  return cudaGetLastError();
}

}  // namespace

// `x` has `rows` rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): row r starts at
// (r / inner) * outer_stride + (r % inner) * inner_stride; `out` is contiguous; `weight` has n elements or is null.
// Returns null, or what CUDA says went wrong.
const char* rmsnorm_launch(void* out, const void* x, const void* weight, int64_t rows, int64_t inner, int64_t outer_stride,
                           int64_t inner_stride, int64_t n, float eps, float weight_offset, int dtype, void* stream) {
  const Layout layout{rows, inner, outer_stride, inner_stride};
  const auto run = [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(x), static_cast<const T*>(weight), layout, n, eps,
                     weight_offset, static_cast<cudaStream_t>(stream));
  };
  const cudaError_t error = dtype == rows::kFloat32   ? run(float{})
                            : dtype == rows::kFloat16 ? run(__half{})
                                                      : run(__nv_bfloat16{});
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
