// What kernels over rows share: where rows lie, 16-byte vectors, sums over the threads of a row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "floats.cuh"
#include "launch.cuh"

namespace rows {

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

// As one instruction: left to itself the compiler sometimes writes the four words one by one. Without a hint, though rows are
// read once: whatever tells the caches so (L1::no_allocate, evict first, .cs and .lu of loads) costs 2 to 6 % of the time on an
// H200 from some 30 MB on, and .cs stores gain nothing beside plain loads.
__device__ __forceinline__ uint4 load(const void* address) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address));
  return v;
}

__device__ __forceinline__ void store(void* address, const uint4& v) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// For rows that `far_exceed_l2`, while as many bytes are written: if L2 keeps what is read until it is used and only then lets
// go of it, both take 1 to 2 % less on an H200. A hint; below compute capability 8.0 there is none to give.
template <bool kStays>
__device__ __forceinline__ uint4 load_to_stay(const void* address) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (kStays) {
    uint64_t policy;
    uint4 v;
    asm("createpolicy.fractional.L2::evict_last.b64 %0;" : "=l"(policy));
    asm volatile("ld.global.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(address), "l"(policy));
    return v;
  }
#endif
  return load(address);
}

// To be called with the addresses of `load_to_stay`, by whole warps.
template <bool kStays>
__device__ __forceinline__ void let_go(const void* address) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if (kStays && reinterpret_cast<uintptr_t>(address) % 128 == 0) {
    asm volatile("applypriority.global.L2::evict_normal [%0], 128;" ::"l"(address) : "memory");
  }
#endif
}

// Where it is `there`: by a predicate, since a branch would keep the assembler from asking for the next vectors before it is
// done with this one.
__device__ __forceinline__ void store_if(bool there, void* address, const uint4& v) {
  asm volatile(
      "{\n"
      ".reg .pred there;\n"
      "setp.ne.u32 there, %5, 0;\n"
      "@there st.global.v4.u32 [%0], {%1, %2, %3, %4};\n"
      "}" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(static_cast<unsigned>(there))
      : "memory");
}

// Of what every row needs, weights say: to be kept in L1 while rows pass through it, which is worth about 1 % on an H200. `v`
// where it is not `there`; like `store_if`, without a branch.
__device__ __forceinline__ uint4 load_shared_by_rows(const void* address, bool there = true, uint4 v = {0, 0, 0, 0}) {
  asm volatile(
      "{\n"
      ".reg .pred there;\n"
      "setp.ne.u32 there, %5, 0;\n"
      "@there ld.global.nc.L1::evict_last.v4.u32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
      : "l"(address), "r"(static_cast<unsigned>(there)));
  return v;
}

// `kCount` neighbouring elements as floats: one vector, or a single element for rows that are not aligned.
template <typename T, int kCount>
__device__ __forceinline__ void read(const T* address, float (&lane)[kCount]) {
  if constexpr (kCount == 1) {
    lane[0] = to_float(*address);
  } else {
    unpack<T>(load(address), lane);
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

// Unpacks once more what was unpacked before the reduction, by other instructions than then: the assembler would rather spill
// the floats of many vectors than do the same again, whatever `keep_packed` asks of the compiler.
template <typename T>
__device__ __forceinline__ void unpack_again(uint4& vector, float (&lane)[kLanes<T>]) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const uint32_t word[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      lane[2 * i] = __uint_as_float(__byte_perm(word[i], 0, 0x1044));
      lane[2 * i + 1] = __uint_as_float(__byte_perm(word[i], 0, 0x3244));
    }
  } else {
    if constexpr (sizeof(T) == 2) {
      // A permutation that changes nothing, which shows at run time alone: blockDim.z is 1.
      const uint32_t order = 0x320f + blockDim.z;
      vector = make_uint4(__byte_perm(vector.x, 0, order), __byte_perm(vector.y, 0, order), __byte_perm(vector.z, 0, order),
                          __byte_perm(vector.w, 0, order));
    }
    unpack<T>(vector, lane);
  }
}

// `kCount` elements as they lie in memory: one vector, or a single element for rows that are not aligned.
template <typename T, int kCount>
using Packed = std::conditional_t<kCount == 1, T, uint4>;

template <typename T, int kCount>
__device__ __forceinline__ Packed<T, kCount> load_packed(const T* address) {
  if constexpr (kCount == 1) {
    return *address;
  } else {
    return load(address);
  }
}

template <typename T, int kCount>
__device__ __forceinline__ void unpack_packed(Packed<T, kCount>& packed, float (&lane)[kCount]) {
  if constexpr (kCount == 1) {
    lane[0] = to_float(packed);
  } else {
    keep_packed(packed);
    unpack<T>(packed, lane);
  }
}

// ---- rows too long for registers: a block keeps four vectors a thread ----------------------------------------------------

constexpr int kKept = 4;

// The vectors of a row that the threads keep, or zeros.
template <typename T>
__device__ __forceinline__ void load_kept(const T* row, int64_t vectors, uint4 (&held)[kKept]) {
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    const int64_t v = threadIdx.x + j * blockDim.x;
    held[j] = v < vectors ? load(row + v * kLanes<T>) : make_uint4(0, 0, 0, 0);
  }
}

// Calls `use(v, vector)` for each of the others, as many of them in flight at a time.
template <typename T, typename Use>
__device__ __forceinline__ void each_other(const T* row, int64_t vectors, Use use) {
  const int64_t step = static_cast<int64_t>(kKept) * blockDim.x;
  for (int64_t base = threadIdx.x + step; base < vectors; base += step) {
    uint4 held[kKept];
    load_kept(row + (base - threadIdx.x) * kLanes<T>, vectors - (base - threadIdx.x), held);
#pragma unroll
    for (int j = 0; j < kKept; ++j) {
      const int64_t v = base + j * blockDim.x;
      if (v < vectors) use(v, held[j]);
    }
  }
}

// The same for those that are kept.
template <typename Use>
__device__ __forceinline__ void each_kept(int64_t vectors, uint4 (&held)[kKept], Use use) {
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    const int64_t v = threadIdx.x + j * blockDim.x;
    if (v < vectors) use(v, held[j]);
  }
}

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

// Blocks of a cluster tell each other their results: each writes into the shared memory of all, so that nobody waits for an
// answer, and every warp has those of block r in its lane r as soon as the last has come. What counts the bytes that have come
// is a barrier in shared memory: a barrier of the cluster that orders its blocks' writes would first wait for all of memory
// and then empty L1, which costs rows of 64 KB and more up to 15 % on an H200.
template <int kCount>
struct FromBlocks {
  float value[kCount][kMostBlocks];
  uint64_t come;
};

__device__ __forceinline__ unsigned in_shared(const void* address) {
  return static_cast<unsigned>(__cvta_generic_to_shared(address));
}

// To be called by every thread before `exchange`, and best long before it: a block's shared memory is there only when the block
// has started, and so it tells the others.
template <int kCount>
__device__ __forceinline__ void expect_others(FromBlocks<kCount>& slots) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (threadIdx.x == 0) {
    const unsigned bytes = cluster_size() * kCount * sizeof(float);
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(in_shared(&slots.come)) : "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(in_shared(&slots.come)), "r"(bytes) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

// Every thread brings its block's values and gets those of the block that its lane stands for; false for lanes of no block,
// which keep what they brought. All threads of the block must call, once only: `slots` are not to be used again.
template <int kCount>
__device__ __forceinline__ bool exchange(float (&value)[kCount], FromBlocks<kCount>& slots) {
  const unsigned lane = threadIdx.x & 31, size = cluster_size();
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
  const auto at_block = [](const void* own, unsigned rank) {
    unsigned there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(in_shared(own)), "r"(rank));
    return there;
  };
  if (threadIdx.x < size) {
    const unsigned come = at_block(&slots.come, threadIdx.x);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
                       at_block(&slots.value[i][cluster_rank()], threadIdx.x)),
                   "r"(__float_as_uint(value[i])), "r"(come)
                   : "memory");
    }
  }
  unsigned done = 0;
  while (done == 0) {
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], 0;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}"
        : "=r"(done)
        : "r"(in_shared(&slots.come))
        : "memory");
  }
#endif
  if (lane >= size) return false;
#pragma unroll
  for (int i = 0; i < kCount; ++i) value[i] = slots.value[i][lane];
  return true;
}

// Over the blocks of the cluster, of which each thread brings its block's value; every thread gets the same bits.
template <typename Op>
__device__ __forceinline__ float reduce_cluster(float value, FromBlocks<1>& slots, Op op = {}) {
  float values[1] = {value};
  const bool found = exchange(values, slots);
  return reduce_lanes(found ? values[0] : Op::kIdentity, 32, op);
}

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace rows
