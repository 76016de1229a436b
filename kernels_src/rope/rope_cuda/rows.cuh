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

// Of numbers that are not negative; those of 32 bits in a quarter of the time.
__device__ __forceinline__ int64_t divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

// Where the rows of a tensor lie: row r starts at (r / inner) * outer_stride + (r % inner) * inner_stride elements.
struct Layout {
  int64_t rows;
  int64_t inner;
  int64_t outer_stride;
  int64_t inner_stride;

  // From the four numbers in this order, as the binding passes them.
  static Layout of(const int64_t* four) { return {four[0], four[1], four[2], four[3]}; }

  static Layout one_row() { return {1, 1, 0, 0}; }

  // Whether rows of `n` elements lie end to end, so that they can be taken for one.
  bool contiguous(int64_t n) const { return inner == rows && (rows == 1 || inner_stride == n); }

  __device__ int64_t start(int64_t row) const {
    if (inner == rows) return row * inner_stride;
    const int64_t outer = divide(row, inner);
    return outer * outer_stride + (row - outer * inner) * inner_stride;
  }

  // Whether every row starts at a multiple of `lanes` elements.
  bool aligned(int lanes) const { return inner_stride % lanes == 0 && outer_stride % lanes == 0; }
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
__device__ __forceinline__ float from_float<float>(float v) {
  return v;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float v) {
  return __float2half_rn(v);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}

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

__device__ __forceinline__ uint4 load_shared_by_rows(const void* address) { return __ldg(static_cast<const uint4*>(address)); }

// As one instruction: left to itself the compiler sometimes writes the four words one by one.
__device__ __forceinline__ void store(void* address, const uint4& v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// `kCount` neighbouring elements as floats: one vector, or a single element for rows that are not aligned.
template <typename T, int kCount>
__device__ __forceinline__ void read(const T* address, float (&lane)[kCount]) {
  if constexpr (kCount == 1) {
    lane[0] = to_float(*address);
  } else {
    unpack<T>(*reinterpret_cast<const uint4*>(address), lane);
  }
}

template <typename T, int kCount>
__device__ __forceinline__ void read_once(const T* address, float (&lane)[kCount]) {
  if constexpr (kCount == 1) {
    lane[0] = to_float(*address);
  } else {
    unpack<T>(load_once(address), lane);
  }
}

template <typename T, int kCount>
__device__ __forceinline__ void write(T* address, const float (&lane)[kCount]) {
  if constexpr (kCount == 1) {
    *address = from_float<T>(lane[0]);
  } else {
    store(address, pack<T>(lane));
  }
}

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

// ---- clusters: several blocks of one row, from compute capability 9.0 on ----------------------------------------------

__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

__device__ __forceinline__ unsigned cluster_size() {
  unsigned size = 1;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
#endif
  return size;
}

__device__ __forceinline__ void cluster_arrive() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void cluster_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// Over the blocks of the cluster, of which each thread brings its block's result; every thread gets the same bits, since all
// add in the order of ranks. `slot` is a float of shared memory. The caller must `cluster_wait()` before it leaves, so that no
// block ends while another still reads its slot.
template <typename Op>
__device__ __forceinline__ float reduce_cluster(float value, float* slot, Op op = {}) {
  if (threadIdx.x == 0) *slot = value;
  cluster_arrive();
  cluster_wait();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const unsigned local = static_cast<unsigned>(__cvta_generic_to_shared(slot));
  value = Op::kIdentity;
  for (unsigned rank = 0, size = cluster_size(); rank < size; ++rank) {
    unsigned remote;
    float other;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(other) : "r"(remote) : "memory");
    value = op(value, other);
  }
#endif
  cluster_arrive();
  return value;
}

// ---- the launch rule -------------------------------------------------------------------------------------------------

// How a row is held in registers: `blocks` of `threads` threads with `vectors_per_thread` vectors each.
struct Shape {
  int threads;             // blockDim.x: of one row, or of a block's part of it
  int rows_per_block;      // blockDim.y
  int vectors_per_thread;  // 2, 4 or 8; 0 when the row does not fit into registers
  int blocks;              // the cluster that shares a row; 1 for none
};

// Two vectors a thread are 32 bytes in flight, 64 KB an SM at full occupancy, which hides the latency of DRAM. A longer row
// first widens its block to 512 threads, then takes four vectors a thread (32 KB of row, two blocks an SM), then a cluster of
// two, four or eight such blocks. Where there are no clusters it takes eight vectors a thread in a block of 1024, which leaves
// an SM nothing to overlap with. Rows of less than 128 threads share a block.
constexpr int64_t kMostOfABlock = 4 * 512;

inline Shape shape_for(int64_t vectors, bool clusters) {
  Shape shape{0, 1, 4, 1};
  if (vectors <= 2 * 512) {
    shape.vectors_per_thread = 2;
  } else if (clusters && vectors <= 8 * kMostOfABlock) {
    while (vectors > shape.blocks * kMostOfABlock) shape.blocks *= 2;
  } else if (vectors > kMostOfABlock) {
    shape.vectors_per_thread = 8;
  }
  const int64_t held = static_cast<int64_t>(shape.blocks) * shape.vectors_per_thread;
  int64_t threads = (vectors + held - 1) / held;
  if (threads > 1024) return {1024, 1, 0, 1};
  if (threads > 32) {
    shape.threads = static_cast<int>((threads + 31) / 32 * 32);
  } else {
    shape.threads = 8;
    while (shape.threads < threads) shape.threads *= 2;
  }
  if (shape.threads < 128) shape.rows_per_block = 128 / shape.threads;
  return shape;
}

// What the rule asks the compiler for, as launch bounds of a kernel with so many vectors a thread.
constexpr int threads_of(int vectors_per_thread) { return vectors_per_thread <= 4 ? 512 : 1024; }
// A kernel with two `streams` has twice the bytes in flight, so it makes do with three quarters of the threads.
constexpr int blocks_per_sm(int vectors_per_thread, int streams = 1) {
  if (vectors_per_thread > 2) return vectors_per_thread > 4 || (streams > 1 && kThreadsPerSm < 2048) ? 1 : 2;
  return streams > 1 ? kThreadsPerSm * 3 / 4 / 512 : kThreadsPerSm / 512;
}

// Launches `kernel` on every row; for a cluster, consecutive blocks share a row.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), const Shape& shape, int64_t rows, cudaStream_t stream,
                   Arguments... arguments) {
  const int64_t blocks = (rows + shape.rows_per_block - 1) / shape.rows_per_block * shape.blocks;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const dim3 grid(static_cast<unsigned>(blocks)), block(shape.threads, shape.rows_per_block);
  if (shape.blocks == 1) {
    kernel<<<grid, block, 0, stream>>>(arguments...);
    return cudaGetLastError();
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(shape.blocks);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// For kernels that need nothing of the rest of the row: each row is cut into `pieces` of `vectors` vectors, a block each.
struct Pieces {
  int64_t vectors;
  unsigned pieces;
  Shape shape;
};

inline Pieces pieces_of(int64_t vectors) {
  const int64_t pieces = (vectors + 2 * 512 - 1) / (2 * 512);
  const int64_t each = (vectors + pieces - 1) / pieces;
  Shape shape = shape_for(each, false);
  if (pieces > 1) shape.rows_per_block = 1;
  return {each, static_cast<unsigned>(pieces), shape};
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch_pieces(void (*kernel)(Parameters...), const Pieces& cut, int64_t rows, cudaStream_t stream,
                          Arguments... arguments) {
  const int64_t blocks = (rows + cut.shape.rows_per_block - 1) / cut.shape.rows_per_block * cut.pieces;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  kernel<<<static_cast<unsigned>(blocks), dim3(cut.shape.threads, cut.shape.rows_per_block), 0, stream>>>(arguments...);
  return cudaGetLastError();
}

// Whether the machine code of `kernel` on the current device was made for clusters. Asked of long rows only: it takes a while.
template <typename... Parameters>
bool made_for_clusters(void (*kernel)(Parameters...)) {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.ptxVersion >= 90;
}

// Calls `run` with an element of the dtype that `dtype` stands for.
template <typename Run>
cudaError_t with_dtype(int dtype, Run run) {
  switch (dtype) {
    case kFloat32: return run(float{});
    case kFloat16: return run(__half{});
    default: return run(__nv_bfloat16{});
  }
}

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace rows
