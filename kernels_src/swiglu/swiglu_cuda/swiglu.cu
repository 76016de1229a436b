// SwiGLU: out[r, i] = silu(gate[r, i]) * up[r, i], silu(g) = g / (1 + exp(-g))
//
// Bytes moved: gate and up are read once, out is written once, 3 * rows * n * sizeof(T).
// Limit: DRAM bandwidth, as long as the exponential is the hardware's: two of its calls an element for 16-bit types.
// Rule: `rows::pieces_of` cuts each row into blocks of at most 256 threads with one 16-byte vector of each input in flight;
// tensors without gaps are one long row.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "gated.cuh"
#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// 16-bit results do not show the last bits of the fast exponential and division; float32 ones would.
template <typename T>
__device__ __forceinline__ float silu(float gate) {
  if constexpr (sizeof(T) == 2) return __fdividef(gate, 1.0f + __expf(-gate));
  return gate / (1.0f + expf(-gate));
}

// `kLanes` elements at a time: 16 bytes, or one where the rows are not aligned.
template <typename T, int kLanes>
__global__ void __launch_bounds__(rows::kThreadsOfPiece, rows::kPiecesPerSm)
    swiglu_kernel(T* __restrict__ out, const T* __restrict__ gate, const T* __restrict__ up, Layout gate_rows, Layout up_rows,
                  int64_t n, int64_t piece) {
  const int64_t row = rows::row_of_piece();
  if (row >= gate_rows.rows) return;
  const T* gate_row = gate + gate_rows.start(row);
  const T* up_row = up + up_rows.start(row);
  T* out_row = out + row * n;
  rows::wait_for_previous();
  const int64_t first = (blockIdx.x * piece + threadIdx.x) * kLanes;
  const int64_t end = min(n, (static_cast<int64_t>(blockIdx.x) + 1) * piece * kLanes);
  rows::write_gated<T, kLanes>(out_row, gate_row, up_row, first, end, silu<T>);
}

template <typename T>
cudaError_t launch(T* out, const T* gate, const T* up, Layout gate_rows, Layout up_rows, int64_t n, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  if (gate_rows.contiguous(n) && up_rows.contiguous(n)) {
    n *= gate_rows.rows;
    gate_rows = up_rows = Layout::one_row();
  }
  const bool aligned = n % kLanes == 0 && gate_rows.aligned(kLanes) && up_rows.aligned(kLanes) && rows::aligned(out) &&
                       rows::aligned(gate) && rows::aligned(up);
  const auto run = [&](auto kernel, int lanes) {
    const rows::Pieces cut = rows::pieces_of((n + lanes - 1) / lanes);
    const rows::Device device = rows::device_of(kernel);
    return rows::launch_pieces(kernel, device, cut, gate_rows.rows, stream, out, gate, up, gate_rows, up_rows, n, cut.vectors);
  };
  return aligned ? run(swiglu_kernel<T, kLanes>, kLanes) : run(swiglu_kernel<T, 1>, 1);
}

}  // namespace

// Tensors of rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `..._rows` make a
// `rows::Layout`; `out` is contiguous. Returns null, or what CUDA says went wrong.
const char* swiglu_launch(void* out, const void* gate, const void* up, const int64_t* gate_rows, const int64_t* up_rows,
                          int64_t n, int dtype, void* stream) {
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(gate), static_cast<const T*>(up), Layout::of(gate_rows),
                     Layout::of(up_rows), n, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
