// The launch rule: how many threads hold a row, what of the device decides, and how kernels follow each other.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace rows {

// Threads that an SM can hold, for asking the compiler for full occupancy.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 800 || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1100)
constexpr int kThreadsPerSm = 2048;
#elif __CUDA_ARCH__ < 800
constexpr int kThreadsPerSm = 1024;
#else
constexpr int kThreadsPerSm = 1536;
#endif

// Whether eight vectors a thread leave registers to ask for the next weights ahead. The assembler was seen to manage without
// spills for compute capability 9.0 alone.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 900
constexpr bool kRoomBesideEight = true;
#else
constexpr bool kRoomBesideEight = false;
#endif

// ---- the kernels before and after, from compute capability 9.0 on -----------------------------------------------------

// To be called by every thread before it touches memory: a kernel that `start` launches may begin while the one before it in
// the stream still ends, and what that one writes is there only now.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// From here on the next kernel's blocks may take the place of those that have ended. They wait for the rest of this kernel;
// what is saved is the time from its end to their start.
__device__ __forceinline__ void let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// ---- the rule ---------------------------------------------------------------------------------------------------------

// What the rule wants to know of the current device.
struct Device {
  int sms;
  bool sm_90;     // its machine code was made for compute capability 9.0 or newer: clusters, and kernels that start early
  int64_t l2 = 0;  // bytes
};

// The most blocks of a cluster, and the threads that each has at most where fewer blocks than that hold the row: the four such
// blocks of an SM do not all wait at the same time.
constexpr int kMostBlocks = 8, kThreadsOfPart = 256;

// Whether so many bytes, read and written, are so many more than L2 holds that hints to it are worth more than they cost.
inline bool far_exceed_l2(int64_t bytes, const Device& device) { return bytes > 8 * device.l2; }

// How a row is held in registers: `blocks` of `threads` threads with `vectors_per_thread` vectors each.
struct Shape {
  int threads;             // blockDim.x: of one row, or of a block's part of it
  int rows_per_block;      // blockDim.y
  int vectors_per_thread;  // 1 to 4, 6 or 8; 0 where a block keeps what it can of a row and reads the rest again
  int blocks;              // the cluster that shares a row; 1 for none
};

// What the rule asks the compiler for, as launch bounds of a kernel with so many vectors a thread.
constexpr int threads_of(int vectors_per_thread) {
  return vectors_per_thread == 1 || vectors_per_thread == 8 ? 1024 : vectors_per_thread == 3 ? 384 : 512;
}
// `registers` of a thread more than full occupancy leaves it cost a quarter of the threads.
constexpr int blocks_per_sm(int vectors_per_thread, bool registers = false) {
  if (vectors_per_thread == 1) return kThreadsPerSm / 1024;
  if (vectors_per_thread == 8) return 1;
  if (vectors_per_thread == 3) return registers && kThreadsPerSm < 2048 ? 2 : 3;
  if (vectors_per_thread > 2) return registers && kThreadsPerSm < 2048 ? 1 : 2;
  return (registers ? kThreadsPerSm * 3 / 4 : kThreadsPerSm) / 512;
}

// Two vectors a thread are 32 bytes in flight, 64 KB an SM at full occupancy, which hides the latency of DRAM; one of each of
// two inputs are as many. Where an element takes many instructions, four vectors a thread share out what a thread does but
// once, and half the threads leave 64 registers each. So a kernel says how many it `prefers`. A row that is longer first widens
// its block until it holds 1024 vectors, then takes four vectors a thread (32 KB of row, two blocks an SM), then as many as the
// kernel can at `most`, and is shared by the blocks of a cluster unless it has no more than `alone` vectors: by as many as hold
// it in blocks of 256 threads, up to eight, which are larger then; and by more if rows are too few for the SMs, whatever they
// have. Without clusters, a block grows to 1024 threads.
// Still longer rows are taken by a block of 1024 threads alone, which reads what it cannot keep again, from cache. Rows of less
// than 128 threads share a block, unless a cluster shares the row.
inline Shape shape_for(int64_t vectors, int64_t rows, const Device& device, int prefers = 2, int most = 8,
                       int64_t alone = 2048) {
  Shape shape{0, 1, vectors <= 1024 ? prefers : 4, 1};
  if (vectors > 4 * threads_of(4)) {
    shape.vectors_per_thread = most;
    const int64_t held = most * threads_of(most);
    if (vectors > (device.sm_90 ? kMostBlocks * held : held)) return {1024, 1, 0, 1};
    const auto wants_more = [&] {
      const bool holds = vectors <= (shape.blocks == 1 ? alone : shape.blocks * most * kThreadsOfPart);
      return !holds || 2 * shape.blocks * rows <= device.sms;
    };
    while (device.sm_90 && shape.blocks < kMostBlocks && wants_more()) shape.blocks *= 2;
  }
  const int held = shape.blocks * shape.vectors_per_thread;
  const int threads = static_cast<int>((vectors + held - 1) / held);
  if (threads > 32) {
    shape.threads = (threads + 31) / 32 * 32;
  } else {
    shape.threads = 8;
    while (shape.threads < threads) shape.threads *= 2;
  }
  if (shape.threads < 128 && shape.blocks == 1) shape.rows_per_block = 128 / shape.threads;
  return shape;
}

// For kernels that would take four vectors of a row a thread: six or three where those leave at least a tenth fewer places of a
// row's warps empty. Six ask for rows that fill an SM's 32 warps of 64 registers five times over, and then need the fewest
// warps, often a single one, which needs no barrier. Of rows that do not fill the SMs once, three vectors are done sooner.
inline int three_four_or_six(int64_t vectors, int64_t rows, const Device& device) {
  if (vectors <= 128) return 4;
  const auto warps = [=](int each) { return ((vectors + each - 1) / each + 31) / 32; };
  const auto fills = [&](int each, int times) { return rows * warps(each) >= int64_t{32} * times * device.sms; };
  if (60 * warps(6) <= 36 * warps(4) && fills(6, 5)) return 6;
  if (30 * warps(3) <= (fills(4, 1) ? 36 : 40) * warps(4)) return 3;
  return 4;
}

// For rows that are read an element at a time, by as many threads as there are vectors.
inline Shape shape_of_elements(int64_t vectors, const Device& device) {
  return shape_for(vectors < 1024 ? vectors : 1024, 1, device, 1);
}

// All kernels of one file are made for the same devices, so `kernel` is any of them. Each thread asks once: it takes
// microseconds. (<atomic> and std::call_once are a fifth of all that the compilers would read.)
template <typename... Parameters>
Device device_of(void (*kernel)(Parameters...)) {
  constexpr int kMost = 64;
  static thread_local Device known[kMost];  // no SMs: not asked yet
  int index = 0;
  const bool has_place = cudaGetDevice(&index) == cudaSuccess && index < kMost;
  if (has_place && known[index].sms > 0) return known[index];
  int sms = 1, l2 = 0;
  cudaFuncAttributes attributes{};
  const bool answered = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, index) == cudaSuccess &&
                        cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, index) == cudaSuccess &&
                        cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess;
  if (!answered) {
    cudaGetLastError();
    return {1, false};
  }
  const Device device{sms, attributes.ptxVersion >= 90, l2};
  if (has_place) known[index] = device;
  return device;
}

// Launches `kernel`, which calls `wait_for_previous`, with `cluster` neighbouring blocks to a cluster.
template <typename... Parameters, typename... Arguments>
cudaError_t start(void (*kernel)(Parameters...), const Device& device, dim3 blocks, dim3 threads, int cluster,
                  cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.stream = stream;
  config.attrs = attributes;
  if (device.sm_90) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  }
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Launches `kernel` on every row; for a cluster, consecutive blocks share a row.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), const Device& device, const Shape& shape, int64_t rows, cudaStream_t stream,
                   Arguments... arguments) {
  const int64_t blocks = (rows + shape.rows_per_block - 1) / shape.rows_per_block * shape.blocks;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const dim3 grid(static_cast<unsigned>(blocks)), threads(shape.threads, shape.rows_per_block);
  return start(kernel, device, grid, threads, shape.blocks, stream, arguments...);
}

// For kernels that need nothing of the rest of the row: each row is cut into `pieces` of `vectors` vectors, a block each with
// one vector a thread. They lie along x of the grid, rows along y and z, so that a block need not divide to find its own.
constexpr int kThreadsOfPiece = 256;

struct Pieces {
  int64_t vectors;
  int64_t pieces;
  Shape shape;
};

inline Pieces pieces_of(int64_t vectors) {
  const int64_t pieces = (vectors + kThreadsOfPiece - 1) / kThreadsOfPiece;
  const int64_t each = (vectors + pieces - 1) / pieces;
  Shape shape = shape_for(each, 1, {}, 1);
  if (pieces > 1) shape.rows_per_block = 1;
  return {each, pieces, shape};
}

__device__ __forceinline__ int64_t row_of_piece() {
  return (static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * blockDim.y + threadIdx.y;
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch_pieces(void (*kernel)(Parameters...), const Device& device, const Pieces& cut, int64_t rows,
                          cudaStream_t stream, Arguments... arguments) {
  constexpr int64_t kMost = 65535;
  const int64_t groups = (rows + cut.shape.rows_per_block - 1) / cut.shape.rows_per_block;
  const int64_t y = groups < kMost ? groups : kMost, z = (groups + y - 1) / y;
  if (cut.pieces > 0x7fffffff || z > kMost) return cudaErrorInvalidConfiguration;
  const dim3 blocks(static_cast<unsigned>(cut.pieces), static_cast<unsigned>(y), static_cast<unsigned>(z));
  return start(kernel, device, blocks, dim3(cut.shape.threads, cut.shape.rows_per_block), 1, stream, arguments...);
}

}  // namespace rows
