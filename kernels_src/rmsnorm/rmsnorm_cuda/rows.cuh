// What kernels over rows share: 16-byte vectors, conversions to float, sums over the threads of a row, the launch rule.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace rows {

// The order is that of `torch-ext/tensors.h`.
enum DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

// Threads that an SM can hold, for asking the compiler for full occupancy.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 800 || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1100)
constexpr int kThreadsPerSm = 2048;
#elif __CUDA_ARCH__ < 800
constexpr int kThreadsPerSm = 1024;
#else
constexpr int kThreadsPerSm = 1536;
#endif

// Where the rows of a tensor lie: row r starts at (r / inner) * outer_stride + (r % inner) * inner_stride elements.
struct Layout {
  int64_t rows;
  int64_t inner;
  int64_t outer_stride;
  int64_t inner_stride;

  __device__ int64_t start(int64_t row) const {
    if (inner == rows) return row * inner_stride;
    const int64_t outer = row / inner;
    return outer * outer_stride + (row - outer * inner) * inner_stride;
  }
};

// ---- 16-byte vectors -------------------------------------------------------------------------------------------------

template <typename T>
constexpr int kLanes = 16 / sizeof(T);

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

template <typename T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) { return v; }
template <>
__device__ __forceinline__ __half from_float<__half>(float v) { return __float2half_rn(v); }
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float v) { return __float2bfloat16_rn(v); }

// Two 16-bit elements of one 32-bit word. A bfloat16 is the upper half of a float: no conversion instruction is needed.
__device__ __forceinline__ float2 unpack_word(uint32_t word, __half) {
  return __half22float2(*reinterpret_cast<const __half2*>(&word));
}
__device__ __forceinline__ float2 unpack_word(uint32_t word, __nv_bfloat16) {
  return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
}
__device__ __forceinline__ uint32_t pack_word(float low, float high, __half) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t pack_word(float low, float high, __nv_bfloat16) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

template <typename T>
__device__ __forceinline__ void unpack(const uint4& vector, float (&lane)[kLanes<T>]) {
  const uint32_t word[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      lane[i] = __uint_as_float(word[i]);
    } else {
      const float2 pair = unpack_word(word[i], T{});
      lane[2 * i] = pair.x;
      lane[2 * i + 1] = pair.y;
    }
  }
}

template <typename T>
__device__ __forceinline__ uint4 pack(const float (&lane)[kLanes<T>]) {
  uint32_t word[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      word[i] = __float_as_uint(lane[i]);
    } else {
      word[i] = pack_word(lane[2 * i], lane[2 * i + 1], T{});
    }
  }
  return make_uint4(word[0], word[1], word[2], word[3]);
}

// Data that is read once: it passes L1 by, so that what is read by every row (a weight) stays there.
__device__ __forceinline__ uint4 load_once(const void* address) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

__device__ __forceinline__ uint4 load_shared_by_rows(const void* address) {
  return __ldg(static_cast<const uint4*>(address));
}

__device__ __forceinline__ void store(void* address, const uint4& v) { *static_cast<uint4*>(address) = v; }

// Makes the compiler forget that it has unpacked `v` already. It would rather keep the floats across the reduction, which takes
// twice the registers of 16-bit elements and so half the rows in flight.
__device__ __forceinline__ void keep_packed(uint4& v) { asm volatile("" : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)); }

// ---- sums over the threads of one row --------------------------------------------------------------------------------

struct Add {
  static constexpr float kIdentity = 0.0f;
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Max {
  static constexpr float kIdentity = -INFINITY;
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Over `width` neighbouring lanes, a power of two up to 32; every lane gets the result.
template <typename Op>
__device__ __forceinline__ float reduce_lanes(float value, int width, Op op = {}) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) {
    const float other = __shfl_xor_sync(0xffffffffu, value, offset);
    if (offset < width) value = op(value, other);
  }
  return value;
}

// Over the blockDim.x threads that share threadIdx.y; every one of them gets the result. All threads of the block must call.
// `scratch` holds 32 floats, and is not to be reused before a barrier.
template <typename Op>
__device__ __forceinline__ float reduce_row(float value, float* scratch, Op op = {}) {
  const int width = blockDim.x;
  if (width <= 32) return reduce_lanes(value, width, op);
  value = reduce_lanes(value, 32, op);
  const int lane = threadIdx.x & 31;
  const int warps = width >> 5;
  float* partial = scratch + threadIdx.y * warps;
  if (lane == 0) partial[threadIdx.x >> 5] = value;
  __syncthreads();
  value = lane < warps ? partial[lane] : Op::kIdentity;
  return reduce_lanes(value, 32, op);
}

// ---- the launch rule -------------------------------------------------------------------------------------------------

// A row is held in registers by `threads` threads with up to `vectors_per_thread` vectors each. Two vectors (32 bytes in
// flight a thread, 64 KB an SM at full occupancy) hide the latency of DRAM; a longer row first widens the block to 512
// threads, then the registers, then the block again. Rows of less than 128 threads share a block.
struct Shape {
  int threads;             // blockDim.x: of one row
  int rows_per_block;      // blockDim.y
  int vectors_per_thread;  // 2, 4 or 8; 0 when the row does not fit into registers
};

inline Shape shape_for(int64_t vectors) {
  const int per_thread = vectors <= 2 * 512 ? 2 : vectors <= 4 * 512 ? 4 : vectors <= 8 * 1024 ? 8 : 0;
  if (per_thread == 0) return {1024, 1, 0};
  int threads = static_cast<int>((vectors + per_thread - 1) / per_thread);
  if (threads > 32) {
    threads = (threads + 31) / 32 * 32;
  } else {
    int power = 8;
    while (power < threads) power *= 2;
    threads = power;
  }
  return {threads, threads >= 128 ? 1 : 128 / threads, per_thread};
}

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace rows
