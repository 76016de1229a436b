// GEGLU: out[r, i] = value * gelu(gate) of the two halves of x[r, :], value first or gate first
//   gelu(g) = g / 2 * (1 + erf(g / sqrt(2))), or with tanh(sqrt(2 / pi) * (g + 0.044715 g^3)) in the place of erf
//
// Bytes moved: x is read once, out written once, 3 * rows * n * sizeof(T) for n elements of out a row.
// Limit: DRAM bandwidth, as long as the error function is a short one: CUDA's erff made it compute-bound on an H200.
// float32: erfc is 2 to a polynomial of degree nine. Emulated on the CPU, gelu of normal data is 3.7e-8 off float64 (norm over
// norm), 4.2e-8 with exponentials that err at random within PTX's bound; by erff 4.6e-8. The tanh form: 3.8e-8 and 4.1e-8, by a
// tanhf that is rounded right 4.6e-8.
// Rule: `rows::pieces_of` cuts each row into blocks of at most 256 threads with one 16-byte vector of each half in flight.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "gated.cuh"
#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// 2^x within a relative error of 2^-22.5; denormal results are zero.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// 1 / x within one unit of the last place, for what is not denormal.
__device__ __forceinline__ float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The float32 forms take what is missing from max(x, 0): one rounding where x is large, no digits lost where it is far below
// zero. What of |x| counts is bounded, so that +inf less it is +inf; half + |half| is max(x, 0), but NaN of -inf and NaN.

// max(x, 0) - |x| / 2 * erfc(|x| / sqrt(2)), with log2(erfc) fitted in h = |x| / 2 up to 4, the closer the more erfc counts:
// the fit's relative error is 1e-7 up to |x| = 2, 1e-5 at 4, 6e-4 at 5 and a half at 8. Beyond that -7e-15 is left.
__device__ __forceinline__ float gelu_float32(float x) {
  const float half = 0.5f * x;
  const float h = fminf(fabsf(half), 4.0f);
  float q = fmaf(h, 0.000125837483f, -0.00142980728f);
  q = fmaf(h, q, 0.00650876947f);
  q = fmaf(h, q, -0.0132562527f);
  q = fmaf(h, q, -0.00402480178f);
  q = fmaf(h, q, 0.113250114f);
  q = fmaf(h, q, -0.420147479f);
  q = fmaf(h, q, -1.83679485f);
  q = fmaf(h, q, -2.30221272f);
  return fmaf(-h, exp2_approximate(q * h), half + fabsf(half));
}

// max(x, 0) - |x| * e / (1 + e) with e = exp(-2u), since e / (1 + e) is (1 - tanh(u)) / 2; 2 * sqrt(2 / pi) * log2(e) is 2.302.
__device__ __forceinline__ float gelu_tanh_float32(float x) {
  const float half = 0.5f * x;
  const float h = fminf(fabsf(x), 12.0f);
  const float e = exp2_approximate(h * fmaf(h * h, -0.10294324f, -2.3022082f));
  return fmaf(-h, e * reciprocal_approximate(1.0f + e), half + fabsf(half));
}

// (1 + erf(x / sqrt(2))) / 2 for 16-bit results, by e^(-x^2 / 2) times a polynomial of t = 1 / (1 + 0.54 |x| / sqrt(2)), fitted
// to erfc(z) e^(z^2) for z up to 10 with a relative error of at most 4e-5: an eighth of half a step of float16.
__device__ __forceinline__ float normal_cdf(float x) {
  const float t = __fdividef(1.0f, fmaf(fabsf(x), 0.3818376618f, 1.0f));
  float tail = fmaf(t, -0.08939204f, 0.18424165f);
  tail = fmaf(t, tail, 0.09528519f);
  tail = fmaf(t, tail, 0.157823915f);
  tail = fmaf(t, tail, 0.152021875f) * t * __expf(-0.5f * x * x);
  return x < 0.0f ? tail : 1.0f - tail;
}

template <typename T, bool kTanh>
__device__ __forceinline__ float gelu(float gate) {
  if constexpr (sizeof(T) == 4) return kTanh ? gelu_tanh_float32(gate) : gelu_float32(gate);
  if constexpr (!kTanh) return gate * normal_cdf(gate);
  // 0.5 * (1 + tanh(u)) is 1 / (1 + exp(-2u)), which keeps its digits where tanh(u) is near -1.
  const float u = 0.7978845608f * fmaf(0.044715f * gate * gate, gate, gate);
  return __fdividef(gate, 1.0f + __expf(-2.0f * u));
}

// `kLanes` elements at a time: 16 bytes, or one where the rows are not aligned.
template <typename T, int kLanes, bool kTanh>
__global__ void __launch_bounds__(rows::kThreadsOfPiece, rows::kPiecesPerSm)
    geglu_kernel(T* __restrict__ out, const T* __restrict__ x, Layout layout, int64_t n, bool gate_first, int64_t piece) {
  const int64_t row = rows::row_of_piece();
  if (row >= layout.rows) return;
  const T* x_row = x + layout.start(row);
  const T* gate_row = x_row + (gate_first ? 0 : n);
  const T* value_row = x_row + (gate_first ? n : 0);
  T* out_row = out + row * n;
  rows::wait_for_previous();
  const int64_t first = (blockIdx.x * piece + threadIdx.x) * kLanes;
  const int64_t end = min(n, (static_cast<int64_t>(blockIdx.x) + 1) * piece * kLanes);
  rows::write_gated<T, kLanes>(out_row, gate_row, value_row, first, end, gelu<T, kTanh>);
}

template <typename T, bool kTanh>
cudaError_t launch(T* out, const T* x, const Layout& layout, int64_t n, bool gate_first, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x);
  const auto run = [&](auto kernel, int lanes) {
    const rows::Pieces cut = rows::pieces_of((n + lanes - 1) / lanes);
    const rows::Device device = rows::device_of(kernel);
    return rows::launch_pieces(kernel, device, cut, layout.rows, stream, out, x, layout, n, gate_first, cut.vectors);
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
