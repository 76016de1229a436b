// Mean and sum of squared differences from it of one row, as layer norms need them: right where the mean is far larger than the
// differences, with a single reading and a single barrier.
//
// Each thread takes both about its first element, each warp brings them to one lane's mean, then the warps merge theirs about
// the mean of the first. A reference costs no digits as long as it is not much further from the mean than the elements are, and
// one that is costs those of its own thread alone. It is rounded, so the mean is given as it and the small rest:
// (x - about) - rest has the digits that x - mean would lose.
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

// How many of a row's `vectors` the `width` lanes from thread `thread` on hold, of `kVectors` a thread.
template <int kVectors>
__device__ __forceinline__ int held_by(int thread, int width, int vectors) {
  int count = 0;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) count += min(max(vectors - (thread + j * static_cast<int>(blockDim.x)), 0), width);
  return count;
}

// Of what the thread holds, about its first element.
template <typename T, int kVectors>
__device__ __forceinline__ Moments moments_of_thread(const uint4 (&held)[kVectors], int vectors) {
  constexpr int kLanes = rows::kLanes<T>;
  float lane[kLanes];
  unpack<T>(held[0], lane);
  Moments part{lane[0], 0.0f, 0.0f, static_cast<float>(kLanes * held_by<kVectors>(threadIdx.x, 1, vectors))};
  Moments odd = part;
  const auto add = [&](const uint4& vector) {
    unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) (i % 2 ? odd : part).add(lane[i]);
  };
  // Where all are there, and that is nearly everywhere, without a branch for each.
  if (static_cast<int>(threadIdx.x + (kVectors - 1) * blockDim.x) < vectors) {
#pragma unroll
    for (int j = 0; j < kVectors; ++j) add(held[j]);
  } else {
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      if (static_cast<int>(threadIdx.x + j * blockDim.x) < vectors) add(held[j]);
    }
  }
  part.sum += odd.sum;
  part.squares += odd.squares;
  return part;
}

// The same of the up to 32 lanes that share a row, about the mean of one of them.
template <typename T, int kVectors>
__device__ __forceinline__ Moments moments_of_lanes(const uint4 (&held)[kVectors], int vectors) {
  const int width = blockDim.x < 32 ? blockDim.x : 32;
  Moments part = moments_of_thread<T>(held, vectors);
  const float mean = part.about + __fdividef(part.sum, fmaxf(part.count, 1.0f));
  part.move(__shfl_sync(0xffffffffu, mean, 0, width));
  const int all = held_by<kVectors>(threadIdx.x - threadIdx.x % width, width, vectors);
  return {part.about, reduce_lanes<Add>(part.sum, width), reduce_lanes<Add>(part.squares, width),
          static_cast<float>(rows::kLanes<T> * all)};
}

// Of a row that the blockDim.x threads of one threadIdx.y hold, thread t the vectors t, t + blockDim.x ...; all threads of the
// block must call. `scratch` is not to be reused before a barrier. They are about the mean of the row's first warp.
template <typename T, int kVectors>
__device__ __forceinline__ Moments moments_in_registers(const uint4 (&held)[kVectors], int vectors, float (&scratch)[3][32]) {
  constexpr int kLanes = rows::kLanes<T>;
  Moments part = moments_of_lanes<T>(held, vectors);
  if (blockDim.x <= 32) return part;

  const int lane_id = threadIdx.x & 31, warps = blockDim.x >> 5, slot = threadIdx.y * warps;
  if (lane_id == 0) {
    if (part.count > 0.0f) part.move(part.about + part.rest());
    scratch[0][slot + (threadIdx.x >> 5)] = part.about;
    scratch[1][slot + (threadIdx.x >> 5)] = part.sum;
    scratch[2][slot + (threadIdx.x >> 5)] = part.squares;
  }
  __syncthreads();
  const float reference = scratch[0][slot];
  Moments other{reference, 0.0f, 0.0f, 0.0f};
  if (lane_id < warps) {
    const int count = kLanes * held_by<kVectors>(lane_id * 32, 32, vectors);
    other = {scratch[0][slot + lane_id], scratch[1][slot + lane_id], scratch[2][slot + lane_id], static_cast<float>(count)};
  }
  other.move(reference);
  const int all = min(max(vectors, 0), kVectors * static_cast<int>(blockDim.x));
  return {reference, reduce_lanes<Add>(other.sum, 32), reduce_lanes<Add>(other.squares, 32), static_cast<float>(kLanes * all)};
}

// Of a row that the blocks of a cluster hold one after the other, `own` being those of this block; for `slots` see `exchange`.
// They are about the mean of the row's first warp.
template <typename T, int kVectors>
__device__ __forceinline__ Moments moments_of_cluster(const Moments& own, int vectors, FromBlocks<3>& slots) {
  float found[3] = {own.about, own.sum, own.squares};
  const bool is_block = exchange(found, slots);
  const int each = kVectors * blockDim.x, before = (threadIdx.x & 31) * each;
  Moments other{found[0], 0.0f, 0.0f, 0.0f};
  if (is_block) other = {found[0], found[1], found[2], static_cast<float>(kLanes<T> * min(max(vectors - before, 0), each))};
  other.move(__shfl_sync(0xffffffffu, found[0], 0));
  return {other.about, reduce_lanes<Add>(other.sum, 32), reduce_lanes<Add>(other.squares, 32),
          static_cast<float>(kLanes<T> * vectors)};
}

}  // namespace rows
