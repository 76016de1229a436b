// GEGLU: out[r, i] = value * gelu(gate) of the two halves of x[r, :], value first or gate first
//   gelu(g) = g / 2 * (1 + erf(g / sqrt(2))), or with tanh(sqrt(2 / pi) * (g + 0.044715 g^3)) in the place of erf
//
// Bytes moved: x is read once, out written once, 3 * rows * n * sizeof(T) for n elements of out a row.
// Limit: DRAM bandwidth; the error function comes close to it with some thirty instructions an element.
// Rule: `rows::pieces_of` cuts each row into blocks of at most 512 threads with two 16-byte vectors of each half in flight.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "rows.cuh"

namespace {

using rows::Layout;

template <bool kTanh>
__device__ __forceinline__ float gelu(float gate) {
  if constexpr (kTanh) {
    // 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2u)), which keeps its digits where tanh(u) is near -1.
    const float u = 0.7978845608f * fmaf(0.044715f * gate * gate, gate, gate);
    return gate / (1.0f + expf(-2.0f * u));
  }
  return 0.5f * gate * (1.0f + erff(gate * 0.7071067812f));
}

// `kLanes` elements at a time: 16 bytes, or one where the rows are not aligned.
template <typename T, int kLanes, bool kTanh>
__global__ void __launch_bounds__(512) geglu_kernel(T* __restrict__ out, const T* __restrict__ x, Layout layout, int64_t n,
                                                    bool gate_first, int64_t piece, unsigned pieces) {
  const unsigned cut = blockIdx.x % pieces;
  const int64_t row = static_cast<int64_t>(blockIdx.x / pieces) * blockDim.y + threadIdx.y;
  if (row >= layout.rows) return;
  const T* x_row = x + layout.start(row);
  const T* gate_row = x_row + (gate_first ? 0 : n);
  const T* value_row = x_row + (gate_first ? n : 0);
  T* out_row = out + row * n;
  const int64_t first = (cut * piece + threadIdx.x) * kLanes;
  const int64_t end = min(n, static_cast<int64_t>(cut + 1) * piece * kLanes);

  float g[2][kLanes], value[2][kLanes];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int64_t i = first + static_cast<int64_t>(j) * blockDim.x * kLanes;
    if (i >= end) continue;
    rows::read_once<T, kLanes>(gate_row + i, g[j]);
    rows::read_once<T, kLanes>(value_row + i, value[j]);
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int64_t i = first + static_cast<int64_t>(j) * blockDim.x * kLanes;
    if (i >= end) continue;
#pragma unroll
    for (int k = 0; k < kLanes; ++k) g[j][k] = gelu<kTanh>(g[j][k]) * value[j][k];
    rows::write<T, kLanes>(out_row + i, g[j]);
  }
}

template <typename T, bool kTanh>
cudaError_t launch(T* out, const T* x, const Layout& layout, int64_t n, bool gate_first, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x);
  const auto run = [&](auto kernel, int lanes) {
    const rows::Pieces cut = rows::pieces_of((n + lanes - 1) / lanes);
    return rows::launch_pieces(kernel, cut, layout.rows, stream, out, x, layout, n, gate_first, cut.vectors, cut.pieces);
  };
  return aligned ? run(geglu_kernel<T, kLanes, kTanh>, kLanes) : run(geglu_kernel<T, 1, kTanh>, 1);
}

}  // namespace

// `x` has rows of 2n elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `x_rows` make a
// `rows::Layout`; `out` has contiguous rows of n. Returns null, or what CUDA says went wrong.
const char* geglu_launch(void* out, const void* x, const int64_t* x_rows, int64_t n, bool tanh, bool gate_first, int dtype,
                         void* stream) {
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = tanh ? launch<T, true> : launch<T, false>;
    return run(static_cast<T*>(out), static_cast<const T*>(x), Layout::of(x_rows), n, gate_first,
               static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
