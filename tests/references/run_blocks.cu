// Runs the kernels of the guides on a GPU of compute capability 9.0 and compares them with the CPU. The test that builds this
// puts the guides' blocks in front of it, each guide in a namespace of its own.
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace {

int failures = 0;

void report(const char* what, double worst, double allowed) {
  const cudaError_t error = cudaDeviceSynchronize();
  const bool ok = error == cudaSuccess && worst <= allowed;
  std::printf("%s %s: error %.3g, allowed %.3g, %s\n", ok ? "ok" : "WRONG", what, worst, allowed, cudaGetErrorString(error));
  failures += !ok;
}

template <typename T>
T* shared_with_host(size_t count) {
  T* memory = nullptr;
  if (cudaMallocManaged(&memory, count * sizeof(T)) != cudaSuccess) std::exit(3);
  return memory;
}

// Numbers in [-2, 2) that differ from element to element, the same on every run.
float draw(size_t i) { return static_cast<float>((i * 2654435761u) % 4096u) / 1024.0f - 2.0f; }

__nv_bfloat16* draw_bf16(size_t count) {
  __nv_bfloat16* x = shared_with_host<__nv_bfloat16>(count);
  for (size_t i = 0; i < count; ++i) x[i] = __float2bfloat16(draw(i));
  return x;
}

float* draw_float(size_t count) {
  float* x = shared_with_host<float>(count);
  for (size_t i = 0; i < count; ++i) x[i] = draw(i);
  return x;
}

double apart(double got, double want) { return std::fabs(got - want) / (std::fabs(want) + 1e-3); }

void run_scale() {
  const size_t n = 8 * 1000;
  __nv_bfloat16 *x = draw_bf16(n), *out = shared_with_host<__nv_bfloat16>(n);
  guide_vectorization::scale<<<4, 128>>>(out, x, 3.0f, n / 8);
  cudaDeviceSynchronize();
  double worst = 0;
  for (size_t i = 0; i < n; ++i) worst = std::fmax(worst, apart(__bfloat162float(out[i]), 3.0 * __bfloat162float(x[i])));
  report("vectorization: scale", worst, 0.004);
}

void run_sums() {
  const int rows = 5, n = 3001;
  float *x = draw_float(rows * n), *out = shared_with_host<float>(rows);
  double sums[rows] = {};
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < n; ++i) sums[r] += x[r * n + i];
  for (int variant = 0; variant < 2; ++variant) {
    if (variant == 0) guide_reductions::row_sum<<<rows, 256>>>(out, x, n);
    if (variant == 1) guide_reductions::cluster_sum<<<rows * 4, 128>>>(out, x, n);
    cudaDeviceSynchronize();
    double worst = 0;
    for (int r = 0; r < rows; ++r) worst = std::fmax(worst, std::fabs(out[r] - sums[r]));
    report(variant == 0 ? "reductions: row_sum" : "reductions: cluster_sum", worst, 0.02);
  }
}

void run_two_sums() {
  const int rows = 5, n = 3001;
  float* x = draw_float(rows * n);
  float2* out = shared_with_host<float2>(rows);
  guide_reductions::sums_and_squares<<<rows, 256>>>(out, x, n);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; ++i) {
      sum += x[r * n + i];
      squares += std::pow(x[r * n + i], 2);
    }
    worst = std::fmax(worst, std::fmax(std::fabs(out[r].x - sum), std::fabs(out[r].y - squares)));
  }
  report("reductions: sums_and_squares", worst, 0.02);
}

// About a mean at which floats lie 1e-3 apart; the row does not fill its last threads.
void run_layernorm() {
  const int rows = 7, n = 4096 - 300;
  float *x = draw_float(rows * n), *out = shared_with_host<float>(rows * n);
  for (int i = 0; i < rows * n; ++i) x[i] += 1e4f;
  guide_norms::layernorm<<<rows, 512>>>(out, x, n, 1e-5f);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (int i = 0; i < n; ++i) mean += x[r * n + i] / static_cast<double>(n);
    for (int i = 0; i < n; ++i) variance += std::pow(x[r * n + i] - mean, 2) / n;
    for (int i = 0; i < n; ++i) {
      worst = std::fmax(worst, std::fabs(out[r * n + i] - (x[r * n + i] - mean) / std::sqrt(variance + 1e-5)));
    }
  }
  report("norms: layernorm about 1e4", worst, 3e-6);
}

void run_rmsnorm() {
  const int rows = 7, n = 4096;
  __nv_bfloat16 *x = draw_bf16(rows * n), *weight = draw_bf16(n), *out = shared_with_host<__nv_bfloat16>(rows * n);
  guide_norms::rmsnorm<<<rows, 256>>>(out, x, weight, n, 1e-6f);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double squares = 0;
    for (int i = 0; i < n; ++i) squares += std::pow(__bfloat162float(x[r * n + i]), 2);
    for (int i = 0; i < n; ++i) {
      const double want = __bfloat162float(x[r * n + i]) / std::sqrt(squares / n + 1e-6) * __bfloat162float(weight[i]);
      worst = std::fmax(worst, apart(__bfloat162float(out[r * n + i]), want));
    }
  }
  report("norms: rmsnorm", worst, 0.005);
}

void run_softmax() {
  const int rows = 9, n = 1003;
  float *x = draw_float(rows * n), *out = shared_with_host<float>(rows * n);
  x[0] = -INFINITY;
  guide_softmax::softmax<<<rows, 160>>>(out, x, n);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[r * n + i]));
    for (int i = 0; i < n; ++i) worst = std::fmax(worst, std::fabs(out[r * n + i] - std::exp(static_cast<double>(x[r * n + i])) / sum) * n);
  }
  report("softmax: softmax", worst, 1e-3);
}

void run_rope() {
  const int tokens = 3, heads = 5, d = 128;
  const size_t n = static_cast<size_t>(tokens) * heads * d;
  __nv_bfloat16 *x = draw_bf16(n), *out = shared_with_host<__nv_bfloat16>(n);
  float *cosine = shared_with_host<float>(tokens * d), *sine = shared_with_host<float>(tokens * d);
  for (int t = 0; t < tokens; ++t)
    for (int i = 0; i < d; ++i) {
      cosine[t * d + i] = std::cos(t * std::pow(10000.0, -2.0 * (i % (d / 2)) / d));
      sine[t * d + i] = std::sin(t * std::pow(10000.0, -2.0 * (i % (d / 2)) / d));
    }
  guide_rope::rope<<<dim3(tokens, 2), dim3(d / 16, 4)>>>(out, x, cosine, sine, heads, d, heads * d, d);
  cudaDeviceSynchronize();
  double worst = 0;
  for (size_t i = 0; i < n; ++i) {
    const int element = i % d, token = i / (heads * d);
    const size_t pair = element < d / 2 ? i + d / 2 : i - d / 2;
    const double turned = (element < d / 2 ? -1 : 1) * __bfloat162float(x[pair]) * sine[token * d + element];
    worst = std::fmax(worst, std::fabs(__bfloat162float(out[i]) - (__bfloat162float(x[i]) * cosine[token * d + element] + turned)));
  }
  report("rope: rope", worst, 0.016);
}

void run_gate() {
  const int rows = 6, d = 264;
  __nv_bfloat16 *x = draw_bf16(rows * 2 * d), *out = shared_with_host<__nv_bfloat16>(rows * d);
  guide_gated_activations::launch(out, x, rows, d, nullptr);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < d; ++i) {
      const double gate = __bfloat162float(x[r * 2 * d + i]), up = __bfloat162float(x[r * 2 * d + d + i]);
      worst = std::fmax(worst, apart(__bfloat162float(out[r * d + i]), gate / (1 + std::exp(-gate)) * up));
    }
  report("gated-activations: silu_and_mul", worst, 0.005);
}

__global__ void gelus(float* out, const float* x, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = guide_gated_activations::gelu_erf_16(x[i]);
}

void run_gelu() {
  const int n = 20 * 256;
  float *x = shared_with_host<float>(n), *out = shared_with_host<float>(n);
  for (int i = 0; i < n; ++i) x[i] = static_cast<float>(i - n / 2) / 256.0f;
  gelus<<<n / 256, 256>>>(out, x, n);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int i = 0; i < n; ++i) {
    const double want = 0.5 * x[i] * std::erfc(-x[i] / std::sqrt(2.0));
    worst = std::fmax(worst, std::fabs(out[i] - want) / (std::fabs(want) + 1e-12));
  }
  report("gated-activations: gelu_erf_16", worst, 6e-5);
}

void run_bulk_copy() {
  const int rows = 11, n = 4096;
  float *x = draw_float(rows * n), *out = shared_with_host<float>(rows * n);
  guide_hopper::double_rows<<<rows, 256, n * sizeof(float)>>>(out, x, n);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int i = 0; i < rows * n; ++i) worst = std::fmax(worst, std::fabs(out[i] - 2.0 * x[i]));
  report("hopper: double_rows", worst, 0);
}

void run_pipeline() {
  const int blocks = 3, rows_a_block = 7;
  __nv_bfloat16* x = draw_bf16(blocks * rows_a_block * 1024);
  float* out = shared_with_host<float>(1024);
  for (int c = 0; c < 1024; ++c) out[c] = 0;
  guide_ada_and_rtx::column_sums<<<blocks, 128>>>(out, x, rows_a_block);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int c = 0; c < 1024; ++c) {
    double want = 0;
    for (int r = 0; r < blocks * rows_a_block; ++r) want += __bfloat162float(x[r * 1024 + c]);
    worst = std::fmax(worst, std::fabs(out[c] - want));
  }
  report("ada-and-rtx: column_sums", worst, 1e-4);
}

void run_dependent_launch() {
  const int n = 1000;
  float *x = draw_float(n), *weight = draw_float(n), *out = shared_with_host<float>(n);
  cudaStream_t stream;
  cudaStreamCreate(&stream);
  const bool early = guide_launches::may_start_early();
  cudaError_t error = guide_launches::launch(out, x, weight, n, early, stream);
  if (error == cudaSuccess) error = guide_launches::launch(x, out, weight, n, early, stream);
  cudaDeviceSynchronize();
  double worst = error == cudaSuccess && early ? 0 : 1;
  for (int i = 0; i < n; ++i) worst = std::fmax(worst, std::fabs(x[i] - draw(i) * weight[i] * weight[i]));
  report("launches: two dependent launches", worst, 1e-5);
}

void run_squared_relu() {
  for (const int64_t n : {int64_t{4096}, int64_t{333}}) {
    float *x = draw_float(n), *out = shared_with_host<float>(n);
    x[7] = NAN;
    const char* error = guide_new_op::squared_relu_launch(out, x, n, 0, nullptr);
    cudaDeviceSynchronize();
    double worst = error == nullptr && std::isnan(out[7]) ? 0 : 1;
    for (int64_t i = 0; i < n; ++i)
      if (i != 7) worst = std::fmax(worst, std::fabs(out[i] - (x[i] > 0 ? x[i] * x[i] : 0)));
    report("new-op: squared_relu", worst, 0);
  }
}

// a (64 x 64) and b (8 x 64), both row by row: the 128-byte swizzle puts 16-byte chunk c of row r at chunk c ^ (r % 8).
__global__ void one_wgmma(float* d, const __nv_bfloat16* a, const __nv_bfloat16* b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ __align__(1024) __nv_bfloat16 a_tile[64 * 64];
  __shared__ __align__(1024) __nv_bfloat16 b_tile[8 * 64];
  for (int i = threadIdx.x; i < 64 * 64; i += 128) a_tile[i / 64 * 64 + ((i % 64 / 8) ^ (i / 64 % 8)) * 8 + i % 8] = a[i];
  for (int i = threadIdx.x; i < 8 * 64; i += 128) b_tile[i / 64 * 64 + ((i % 64 / 8) ^ (i / 64 % 8)) * 8 + i % 8] = b[i];
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  float sum[4] = {};
  for (int k = 0; k < 4; ++k) {
    const uint32_t step = k * 16 * sizeof(__nv_bfloat16);
    guide_hopper::multiply(sum, guide_hopper::tile_descriptor(guide_hopper::shared_address(a_tile) + step),
                           guide_hopper::tile_descriptor(guide_hopper::shared_address(b_tile) + step));
  }
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  d[row * 8 + column] = sum[0];
  d[row * 8 + column + 1] = sum[1];
  d[(row + 8) * 8 + column] = sum[2];
  d[(row + 8) * 8 + column + 1] = sum[3];
#endif
}

void run_wgmma() {
  __nv_bfloat16 *a = draw_bf16(64 * 64), *b = draw_bf16(8 * 64);
  float* d = shared_with_host<float>(64 * 8);
  one_wgmma<<<1, 128>>>(d, a, b);
  cudaDeviceSynchronize();
  double worst = 0;
  for (int r = 0; r < 64; ++r)
    for (int c = 0; c < 8; ++c) {
      double want = 0;
      for (int k = 0; k < 64; ++k) want += __bfloat162float(a[r * 64 + k]) * __bfloat162float(b[c * 64 + k]);
      worst = std::fmax(worst, std::fabs(d[r * 8 + c] - want));
    }
  report("hopper: wgmma with its descriptors", worst, 1e-2);
}

void run_tensor_map() {
  __nv_bfloat16* x = nullptr;
  cudaMalloc(&x, 256 * 512 * sizeof(__nv_bfloat16));
  CUtensorMap map;
  report("hopper: make_map", guide_hopper::make_map(&map, x, 256, 512, 128) ? 0 : 1, 0);
}

}  // namespace

int main() {
  run_scale();
  run_sums();
  run_two_sums();
  run_layernorm();
  run_rmsnorm();
  run_softmax();
  run_rope();
  run_gate();
  run_gelu();
  run_bulk_copy();
  run_pipeline();
  run_dependent_launch();
  run_squared_relu();
  run_wgmma();
  run_tensor_map();
  return failures;
}
