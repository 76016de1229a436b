// LayerNorm over the last dimension:
//   out[r, i] = (x[r, i] - mean(x[r, :])) / sqrt(var(x[r, :]) + eps) * weight[i] + bias[i]
//
// Bytes moved: each element is read once and written once, 2 * rows * n * sizeof(T); weight and bias come from cache.
// Limit: DRAM bandwidth; in 16 bits, with nine instructions an element, nearly that of instructions.
// Rule: `rows::shape_for` gives each row so many threads that they hold it in registers: three, four or six vectors each, as
// `rows::three_four_or_six` says, and eight where it is long. The variance is taken from differences from a mean, which stays
// right where the mean is large (moments.cuh). Sums are in float: lanes of a warp, then warps through shared memory, then
// blocks of a cluster. Weight and bias are asked for before the sums, beside six vectors or eight after them. A row that one
// warp holds with two vectors a thread gets no more; in 16 bits, where such rows are many, weight and bias then serve several
// in turn.
// Read again from cache: what a block cannot keep of a row that no cluster holds, and rows that are no multiple of 16 bytes or
// start elsewhere than at one.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "launch.cuh"
#include "moments.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// Vectors of the longest row that one warp takes with two a thread. In 16 bits, blocks of such rows take several groups of them
// in turn where that leaves enough blocks for each SM.
constexpr int kMostOfShortRows = 64, kEnoughPerSm = 16;
template <typename T>
constexpr int kTurns = sizeof(T) == 2 ? 4 : 1;

// Vectors of the longest row that one block takes rather than two: with weight and bias, two lose 2 to 5 % up to 64 KB.
constexpr int kMostAlone = 4096;

template <typename T>
__device__ __forceinline__ uint4 all(float value) {
  float lane[rows::kLanes<T>];
#pragma unroll
  for (float& each : lane) each = value;
  return rows::pack<T>(lane);
}

// The normalised vector, scaled and shifted.
template <typename T>
__device__ __forceinline__ uint4 normalise(uint4 vector, const rows::Moments& moments, float inverse, uint4 weight,
                                           uint4 bias) {
  constexpr int kLanes = rows::kLanes<T>;
  const float offset = -moments.rest() * inverse;
  float lane[kLanes], scale[kLanes], shift[kLanes];
  rows::keep_packed(weight);
  rows::keep_packed(bias);
  rows::unpack_again<T>(vector, lane);
  rows::unpack<T>(weight, scale);
  rows::unpack<T>(bias, shift);
#pragma unroll
  for (int i = 0; i < kLanes; ++i) lane[i] = fmaf(fmaf(lane[i] - moments.about, inverse, offset), scale[i], shift[i]);
  return rows::pack<T>(lane);
}

// `kVectors` of the row a thread; eight may be those of a cluster's part of it. `kBranches`: weight, bias and results are asked
// for and stored behind branches, not predicates. Blocks of 512 threads and long float32 rows take 3 to 6 % less so on an H200,
// other rows 2 to 5 % more.
template <typename T, int kVectors, bool kBranches = sizeof(T) == 4 && (kVectors == 4 || kVectors == 8)>
__global__ void __launch_bounds__(rows::threads_of(kVectors), rows::blocks_per_sm(kVectors, true))
    layernorm_in_registers(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, Layout layout, int n, float eps) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[3][32];
  __shared__ rows::FromBlocks<3> slots;

  const unsigned parts = kVectors == 8 ? rows::cluster_size() : 1;
  const int64_t row = parts > 1 ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const int before = parts > 1 ? rows::cluster_rank() * kVectors * blockDim.x : 0;
  const int first = threadIdx.x + before;
  const bool active = row < layout.rows;
  const int vectors = active ? n / kLanes : 0;
  const T* x_row = x + (active ? layout.start(row) : 0);

  if (parts > 1) rows::expect_others(slots);
  rows::wait_for_previous();
  uint4 held[kVectors], scale[kVectors], shift[kVectors];
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    held[j] = v < vectors ? rows::load(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
  }
  const auto fetch = [&](int j) {
    const int v = first + j * blockDim.x;
    const bool scales = weight != nullptr && v < vectors, shifts = bias != nullptr && v < vectors;
    if constexpr (kBranches) {
      scale[j] = all<T>(1.0f);
      shift[j] = all<T>(0.0f);
      if (scales) scale[j] = rows::load_shared_by_rows(weight + v * kLanes);
      if (shifts) shift[j] = rows::load_shared_by_rows(bias + v * kLanes);
    } else {
      scale[j] = rows::load_shared_by_rows(weight + v * kLanes, scales, all<T>(1.0f));
      shift[j] = rows::load_shared_by_rows(bias + v * kLanes, shifts);
    }
  };
  // Beside six vectors there are registers for one of weight and bias before the sums, beside eight for none.
  constexpr int kAhead = kVectors < 6 ? kVectors : kVectors == 6;
#pragma unroll
  for (int j = 0; j < kAhead; ++j) fetch(j);
  rows::Moments moments = rows::moments_in_registers<T>(held, vectors - before, scratch);
  if (parts > 1) moments = rows::moments_of_cluster<T, kVectors>(moments, vectors, slots);
  rows::let_next_start();
  const float inverse = moments.inverse(eps);

  T* out_row = out + row * n;
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = first + j * blockDim.x;
    if (j + kAhead < kVectors) fetch(j + kAhead);
    const auto result = [&] { return normalise<T>(held[j], moments, inverse, scale[j], shift[j]); };
    // Where registers are short, a branch keeps the assembler from asking for more than fits.
    if constexpr (kAhead < kVectors || kBranches) {
      if (v < vectors) rows::store(out_row + v * kLanes, result());
    } else {
      rows::store_if(v < vectors, out_row + v * kLanes, result());
    }
  }
}

// Rows that the lanes of a warp or fewer hold with two vectors each. A block takes `turns` groups of rows one after the other
// and has the next one's vectors on their way; weight and bias stay in registers.
template <typename T>
__global__ void __launch_bounds__(128, rows::kThreadsPerSm / 256)
    layernorm_of_short_rows(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                            const T* __restrict__ bias, Layout layout, int n, float eps, int turns) {
  constexpr int kLanes = rows::kLanes<T>, kVectors = 2;
  const int vectors = n / kLanes;
  int64_t row = static_cast<int64_t>(blockIdx.x) * turns * blockDim.y + threadIdx.y;
  uint4 next[kVectors], scale[kVectors], shift[kVectors];
  const auto fetch = [&](int64_t from) {
    const T* x_row = x + (from < layout.rows ? layout.start(from) : 0);
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      const int v = threadIdx.x + j * blockDim.x;
      next[j] = from < layout.rows && v < vectors ? rows::load(x_row + v * kLanes) : make_uint4(0, 0, 0, 0);
    }
  };

  rows::wait_for_previous();
  fetch(row);
#pragma unroll
  for (int j = 0; j < kVectors; ++j) {
    const int v = threadIdx.x + j * blockDim.x;
    scale[j] = rows::load_shared_by_rows(weight + v * kLanes, weight != nullptr && v < vectors, all<T>(1.0f));
    shift[j] = rows::load_shared_by_rows(bias + v * kLanes, bias != nullptr && v < vectors);
  }
  rows::let_next_start();
#pragma unroll 1
  for (int turn = 0; turn < turns; ++turn, row += blockDim.y) {
    uint4 held[kVectors];
#pragma unroll
    for (int j = 0; j < kVectors; ++j) held[j] = next[j];
    if (turn + 1 < turns) fetch(row + blockDim.y);
    const rows::Moments moments = rows::moments_of_lanes<T>(held, vectors);
    const float inverse = moments.inverse(eps);
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      const int v = threadIdx.x + j * blockDim.x;
      rows::store_if(row < layout.rows && v < vectors, out + row * n + v * kLanes,
                     normalise<T>(held[j], moments, inverse, scale[j], shift[j]));
    }
  }
}

// Whole vectors; one row a block. What is kept, at least 16384 elements, gives the mean that all sums are taken about.
template <typename T>
__global__ void __launch_bounds__(1024)
    layernorm_kept_in_part(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, Layout layout, int64_t n, float eps) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[3][32];
  const T* x_row = x + layout.start(blockIdx.x);
  T* out_row = out + blockIdx.x * n;
  const int64_t vectors = n / kLanes;

  rows::wait_for_previous();
  uint4 held[rows::kKept];
  rows::load_kept(x_row, vectors, held);
  float sum = 0.0f;
  rows::each_kept(vectors, held, [&](int64_t, uint4& vector) {
    float lane[kLanes];
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sum += lane[i];
  });
  const int64_t kept = min(vectors, static_cast<int64_t>(rows::kKept * blockDim.x)) * kLanes;
  rows::Moments moments{rows::reduce_row<rows::Add>(sum, scratch[0]) / static_cast<float>(kept), 0.0f, 0.0f,
                        static_cast<float>(n)};
  const auto add = [&](int64_t, uint4& vector) {
    float lane[kLanes];
    rows::keep_packed(vector);
    rows::unpack<T>(vector, lane);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) moments.add(lane[i]);
  };
  rows::each_kept(vectors, held, add);
  rows::each_other(x_row, vectors, add);
  rows::let_next_start();
  moments.sum = rows::reduce_row<rows::Add>(moments.sum, scratch[1]);
  moments.squares = rows::reduce_row<rows::Add>(moments.squares, scratch[2]);
  const float inverse = moments.inverse(eps);

  const auto write = [&](int64_t v, uint4& vector) {
    uint4 scale = all<T>(1.0f), shift = all<T>(0.0f);
    if (weight != nullptr) scale = rows::load_shared_by_rows(weight + v * kLanes);
    if (bias != nullptr) shift = rows::load_shared_by_rows(bias + v * kLanes);
    rows::store(out_row + v * kLanes, normalise<T>(vector, moments, inverse, scale, shift));
  };
  rows::each_kept(vectors, held, write);
  rows::each_other(x_row, vectors, write);
}

template <typename T>
__global__ void __launch_bounds__(1024)
    layernorm_by_element(T* __restrict__ out, const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                         Layout layout, int64_t n, float eps) {
  __shared__ float scratch[3][32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  const T* x_row = x + (active ? layout.start(row) : 0);
  const int64_t end = active ? n : 0;

  rows::wait_for_previous();
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) sum += rows::to_float(x_row[i]);
  const float count = static_cast<float>(n);
  rows::Moments moments{rows::reduce_row<rows::Add>(sum, scratch[0]) / count, 0.0f, 0.0f, count};
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) moments.add(rows::to_float(x_row[i]));
  moments.sum = rows::reduce_row<rows::Add>(moments.sum, scratch[1]);
  moments.squares = rows::reduce_row<rows::Add>(moments.squares, scratch[2]);
  const float inverse = moments.inverse(eps), offset = -moments.rest() * inverse;

  T* out_row = out + row * n;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const float scale = weight != nullptr ? rows::to_float(weight[i]) : 1.0f;
    const float shift = bias != nullptr ? rows::to_float(bias[i]) : 0.0f;
    out_row[i] =
        rows::from_float<T>(fmaf(fmaf(rows::to_float(x_row[i]) - moments.about, inverse, offset), scale, shift));
  }
}

template <typename T>
cudaError_t launch(T* out, const T* x, const T* weight, const T* bias, const Layout& layout, int64_t n, float eps,
                   cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  const bool aligned = n % kLanes == 0 && layout.aligned(kLanes) && rows::aligned(out) && rows::aligned(x) &&
                       rows::aligned(weight) && rows::aligned(bias);
  const int64_t vectors = (n + kLanes - 1) / kLanes;
  const rows::Device device = rows::device_of(layernorm_by_element<T>);
  const int prefers = vectors > kMostOfShortRows ? rows::three_four_or_six(vectors, layout.rows, device) : 2;
  const rows::Shape shape = aligned ? rows::shape_for(vectors, layout.rows, device, prefers, 8, kMostAlone)
                                    : rows::shape_of_elements(vectors, device);
  const auto run = [&](auto kernel, int64_t groups, auto length, auto... more) {
    return rows::launch(kernel, device, shape, groups, stream, out, x, weight, bias, layout, length, eps, more...);
  };
  if (!aligned) return run(layernorm_by_element<T>, layout.rows, n);
  const int length = static_cast<int>(n);
  const bool many = layout.rows >= int64_t{kTurns<T>} * kEnoughPerSm * device.sms * shape.rows_per_block;
  const int turns = many ? kTurns<T> : 1;
  switch (shape.vectors_per_thread) {
    case 2: return run(layernorm_of_short_rows<T>, (layout.rows + turns - 1) / turns, length, turns);
    case 3: return run(layernorm_in_registers<T, 3>, layout.rows, length);
    case 4:
      return run(shape.threads > 256 ? layernorm_in_registers<T, 4, true> : layernorm_in_registers<T, 4>, layout.rows, length);
    case 6: return run(layernorm_in_registers<T, 6>, layout.rows, length);
    case 8: return run(layernorm_in_registers<T, 8>, layout.rows, length);
    default: return run(layernorm_kept_in_part<T>, layout.rows, n);
  }
}

}  // namespace

// `x` has rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16): the four numbers of `x_rows` make a
// `rows::Layout`; `out` is contiguous; `weight` and `bias` have n elements or are null. Returns null, or what CUDA says went
// wrong.
const char* layernorm_launch(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n,
                             float eps, int dtype, void* stream) {
  const Layout layout = Layout::of(x_rows);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    return launch<T>(static_cast<T*>(out), static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(bias),
                     layout, n, eps, static_cast<cudaStream_t>(stream));
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
