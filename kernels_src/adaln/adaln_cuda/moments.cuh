// Mean and sum of squared differences from it of one row, as layer norms need them: right where the mean is far larger than the
// differences, and with a single barrier.
//
// Each warp takes both about its own mean, then the warps merge theirs about the mean of the first one. That reference is
// rounded, so the mean is given as it and the small rest: (x - about) - rest has the digits that x - mean would lose.
#pragma once

#include "rows.cuh"

namespace rows {

// Of `count` elements the sums of x - about and of its square.
struct Moments {
  float about, sum, squares, count;

  __device__ __forceinline__ void add(float x) {
    const float difference = x - about;
    sum += difference;
    squares = fmaf(difference, difference, squares);
  }

  // The same sums about another number.
  __device__ __forceinline__ void move(float reference) {
    const float apart = about - reference;
    squares = fmaf(apart, fmaf(apart, count, 2.0f * sum), squares);
    sum = fmaf(apart, count, sum);
    about = reference;
  }

  // The mean is about + rest().
  __device__ __forceinline__ float rest() const { return __fdividef(sum, count); }

  // 1 / sqrt(variance + eps).
  __device__ __forceinline__ float inverse(float eps) const {
    return rsqrtf(__fdividef(fmaxf(fmaf(-rest(), sum, squares), 0.0f), count) + eps);
  }
};

// How many of a row's `vectors` the lanes of the warp that starts at thread `thread` hold, of `kVectors` a thread.
template <int kVectors>
__device__ __forceinline__ int held_by_warp(int thread, int width, int vectors) {
  int count = 0;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) count += min(max(vectors - (thread + j * static_cast<int>(blockDim.x)), 0), width);
  return count;
}

// Of a row that the blockDim.x threads of one threadIdx.y hold, thread t the vectors t, t + blockDim.x ...; all threads of the
// block must call. `scratch` is not to be reused before a barrier. They are about the mean of the row's first warp.
template <typename T, int kVectors>
__device__ __forceinline__ Moments moments_in_registers(uint4 (&held)[kVectors], int vectors, float (&scratch)[3][32]) {
  constexpr int kLanes = rows::kLanes<T>;
  const int width = blockDim.x < 32 ? blockDim.x : 32;
  const int lane_id = threadIdx.x & 31;
  Moments part{0.0f, 0.0f, 0.0f, static_cast<float>(kLanes * held_by_warp<kVectors>(threadIdx.x - lane_id, width, vectors))};

  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    float lane[kLanes];
    unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum += lane[i];
  }
  part.about = __fdividef(reduce_lanes<Add>(sum, width), fmaxf(part.count, 1.0f));
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    if (static_cast<int>(threadIdx.x + j * blockDim.x) >= vectors) continue;
    float lane[kLanes];
    keep_packed(held[j]);
    unpack<T>(held[j], lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) part.add(lane[i]);
  }
  part.sum = reduce_lanes<Add>(part.sum, width);
  part.squares = reduce_lanes<Add>(part.squares, width);
  if (blockDim.x <= 32) return part;

  const int warps = blockDim.x >> 5, slot = threadIdx.y * warps;
  if (lane_id == 0) {
    scratch[0][slot + (threadIdx.x >> 5)] = part.about;
    scratch[1][slot + (threadIdx.x >> 5)] = part.sum;
    scratch[2][slot + (threadIdx.x >> 5)] = part.squares;
  }
  __syncthreads();
  const float reference = scratch[0][slot];
  Moments other{reference, 0.0f, 0.0f, 0.0f};
  if (lane_id < warps) {
    const int count = kLanes * held_by_warp<kVectors>(lane_id * 32, 32, vectors);
    other = {scratch[0][slot + lane_id], scratch[1][slot + lane_id], scratch[2][slot + lane_id], static_cast<float>(count)};
  }
  other.move(reference);
  const int all = min(max(vectors, 0), kVectors * static_cast<int>(blockDim.x));
  return {reference, reduce_lanes<Add>(other.sum, 32), reduce_lanes<Add>(other.squares, 32), static_cast<float>(kLanes * all)};
}

}  // namespace rows
