// What products of a value with an activated gate share: both are read once, packed until they are used.
#pragma once

#include "launch.cuh"
#include "rows.cuh"

namespace rows {

// How many pieces an SM holds at full occupancy, as launch bounds.
constexpr int kPiecesPerSm = kThreadsPerSm / kThreadsOfPiece;

// out[i] = activate(gate[i]) * value[i] in float for `kLanes` elements of each thread from `i` on, if that is before `end`.
template <typename T, int kLanes, typename Activate>
__device__ __forceinline__ void write_gated(T* out, const T* gate, const T* value, int64_t i, int64_t end,
                                            Activate activate) {
  if (i >= end) return;
  Packed<T, kLanes> packed_gate = load_packed<T, kLanes>(gate + i);
  Packed<T, kLanes> packed_value = load_packed<T, kLanes>(value + i);
  let_next_start();
  float lane[kLanes], other[kLanes];
  unpack_packed<T, kLanes>(packed_gate, lane);
  unpack_packed<T, kLanes>(packed_value, other);
#pragma unroll
  for (int k = 0; k < kLanes; ++k) lane[k] = activate(lane[k]) * other[k];
  write<T, kLanes>(out + i, lane);
}

}  // namespace rows
