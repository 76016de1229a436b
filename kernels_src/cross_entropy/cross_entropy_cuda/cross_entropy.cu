// Cross-entropy of rows of logits: loss[r] = log(sum_j exp(x[r, j])) - x[r, target[r]], and 0 where target[r] is ignore_index
//
// Bytes moved: the logits of every row that counts are read once, rows * n * sizeof(T); nothing as long as a row is written.
// Of a row that is ignored no more than the first turn is read, which is asked for before its target is known.
// Limit: DRAM bandwidth. An exponential an element is about half of what the hardware makes while two bytes arrive.
// Rule: a thread has four vectors in flight, and as soon as one is here asks for the next: 64 KB an SM of 1024 threads. It
// keeps the largest logit so far and the sum of exponentials below it, which is rescaled where a vector holds a larger one. A
// row gets as many threads as hold it, at most 256, which then go over it in turns of 16 KB: of four blocks an SM some read
// while others start or end. Long rows that are too few for all SMs get 512 threads, and then a cluster of two blocks; rows of
// less than 128 threads share a block. What the threads found is merged at the end, maxima first, then sums: lanes, warps, and
// then the blocks of a cluster, which tell each other both.
// A row may start and end anywhere: what lies outside its aligned vectors, up to 14 elements, is read one by one.
// One source from sm_75 to sm_121; only clusters ask for more than sm_75 has.

#include "launch.cuh"
#include "rows.cuh"

namespace {

using rows::Layout;

// Vectors a thread; threads a block, and where rows are few; threads that an SM has registers for.
constexpr int kInFlight = 4, kThreads = 256, kMostThreads = 512, kThreadsPerSm = 1024;

// Four bytes of elements that add nothing to a sum of exponentials: -inf.
template <typename T>
constexpr uint32_t kNothing = 0xff800000u;
template <>
constexpr uint32_t kNothing<rows::Half> = 0xfc00fc00u;
template <>
constexpr uint32_t kNothing<rows::BFloat16> = 0xff80ff80u;

// e^x for x of 0 and below, to 2^-22 near 0. What is under 2^-126 is no part of a sum that holds a 1.
__device__ __forceinline__ float power(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * 1.4426950408889634f));
  return result;
}

// The largest logit so far, and the sum of exponentials of all so far, divided by that of the largest.
struct Running {
  float maximum = -INFINITY;
  float sum = 0.0f;

  __device__ __forceinline__ void raise(float larger) {
    if (larger > maximum) {
      sum *= power(maximum - larger);
      maximum = larger;
    }
  }

  // The sum below another maximum, which is no smaller.
  __device__ __forceinline__ float below(float larger) const {
    return maximum == larger ? sum : sum * power(maximum - larger);
  }

  // Below what the exponents are taken: nothing but -inf so far adds nothing, where -inf - -inf would add NaN.
  __device__ __forceinline__ float about() const { return maximum == -INFINITY ? 0.0f : maximum; }

  __device__ __forceinline__ void add(float x) {
    raise(x);
    sum += power(x - about());
  }

  template <typename T>
  __device__ __forceinline__ void add(uint4 vector) {
    constexpr int kLanes = rows::kLanes<T>;
    float lane[kLanes];
    rows::unpack<T>(vector, lane);
    float larger = lane[0];
#pragma unroll
    for (int i = 1; i < kLanes; ++i) larger = fmaxf(larger, lane[i]);
    raise(larger);
    const float from = about();
    float odd = 0.0f;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) (i % 2 ? odd : sum) += power(lane[i] - from);
    sum += odd;
  }
};

// The vector at `at`, or one that adds nothing where the row has none.
template <typename T>
__device__ __forceinline__ uint4 load(const uint4* at, const uint4* end) {
  uint4 vector = make_uint4(kNothing<T>, kNothing<T>, kNothing<T>, kNothing<T>);
  if (at < end) vector = rows::load(at);
  return vector;
}

// `losses` has one element a row; a target that is no class, -1 or n say, gives NaN and reads no more than an ignored one.
template <typename T, bool kClustered>
__global__ void __launch_bounds__(kMostThreads, 2)
    cross_entropy_of_rows(float* __restrict__ losses, const T* __restrict__ logits, Layout layout,
                          const int64_t* __restrict__ target, Layout places, int64_t n, int64_t ignore_index) {
  constexpr int kLanes = rows::kLanes<T>;
  __shared__ float scratch[2][32];
  __shared__ rows::FromBlocks<2> slots;

  const unsigned parts = kClustered ? rows::cluster_size() : 1, part = kClustered ? rows::cluster_rank() : 0;
  const int64_t row = kClustered ? blockIdx.x / parts : static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  const bool active = row < layout.rows;
  if constexpr (kClustered) rows::expect_others(slots);
  rows::wait_for_previous();
  const int64_t label = active ? target[places.start(row)] : ignore_index;
  const T* x_row = logits + (active ? layout.start(row) : 0);
  const int64_t length = active ? n : 0;
  const int64_t to_aligned = (0 - reinterpret_cast<uintptr_t>(x_row)) % 16 / sizeof(T);
  const int64_t before = to_aligned < length ? to_aligned : length;
  const int64_t vectors = (length - before) / kLanes;
  const int turn = kInFlight * blockDim.x;
  const uint4* at = reinterpret_cast<const uint4*>(x_row + before) + part * turn + threadIdx.x;
  const uint4* const end = reinterpret_cast<const uint4*>(x_row + before) + vectors;

  uint4 held[kInFlight];
#pragma unroll
  for (int j = 0; j < kInFlight; ++j) held[j] = load<T>(at + j * blockDim.x, end);
  const bool counts = label != ignore_index, is_class = label >= 0 && label < n, reads = counts && is_class;
  const bool leads = threadIdx.x == 0 && part == 0;
  float picked = NAN;
  if (leads && is_class) picked = rows::to_float(x_row[label]);
  Running running;
  const int outside = reads && part == 0 ? static_cast<int>(length - vectors * kLanes) : 0;
  for (int i = threadIdx.x; i < outside; i += blockDim.x) {
    running.add(rows::to_float(x_row[i < before ? i : vectors * kLanes + i]));
  }
  while (reads && at < end) {
    at += parts * turn;
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      const uint4 vector = held[j];
      held[j] = load<T>(at + j * blockDim.x, end);
      running.add<T>(vector);
    }
  }

  rows::let_next_start();
  float maximum = rows::reduce_row<rows::Max>(running.maximum, scratch[0]);
  float sum = rows::reduce_row<rows::Add>(running.below(maximum), scratch[1]);
  if constexpr (kClustered) {
    float both[2] = {maximum, sum};
    const Running of_block = rows::exchange(both, slots) ? Running{both[0], both[1]} : Running{};
    maximum = rows::reduce_lanes<rows::Max>(of_block.maximum, 32);
    sum = rows::reduce_lanes<rows::Add>(of_block.below(maximum), 32);
  }
  if (leads && active) {
    // The difference first: where the target is the largest logit, nothing of the logarithm is lost.
    losses[row] = counts ? (maximum - picked) + logf(sum) : 0.0f;
  }
}

// The mean of the losses that count, NaN of none. One block, always in the same order: a second run gives the same bits.
__global__ void __launch_bounds__(1024)
    mean_of_counted(float* __restrict__ mean, const float* __restrict__ losses, int64_t rows,
                    const int64_t* __restrict__ target, Layout places, int64_t ignore_index) {
  __shared__ float scratch[2][32];
  rows::wait_for_previous();
  float sum = 0.0f, count = 0.0f;
#pragma unroll 4
  for (int64_t row = threadIdx.x; row < rows; row += blockDim.x) {
    sum += losses[row];  // 0 where it does not count
    count += target[places.start(row)] == ignore_index ? 0.0f : 1.0f;
  }
  sum = rows::reduce_row<rows::Add>(sum, scratch[0]);
  count = rows::reduce_row<rows::Add>(count, scratch[1]);
  if (threadIdx.x == 0) *mean = sum / count;
}

int threads_for(int64_t vectors) {
  const int64_t needed = (vectors + kInFlight - 1) / kInFlight;
  if (needed >= kThreads) return kThreads;
  if (needed > 32) return static_cast<int>((needed + 31) / 32 * 32);
  int threads = 8;
  while (threads < needed) threads *= 2;
  return threads;
}

template <typename T>
cudaError_t launch(float* losses, const T* logits, const Layout& layout, const int64_t* target, const Layout& places, int64_t n,
                   int64_t ignore_index, cudaStream_t stream) {
  const int64_t vectors = n / rows::kLanes<T>, turns = vectors / (kInFlight * kMostThreads);
  rows::Shape shape{threads_for(vectors), 1, kInFlight, 1};
  if (shape.threads < 128) shape.rows_per_block = 128 / shape.threads;
  const rows::Device device = rows::device_of(cross_entropy_of_rows<T, true>);
  const auto room_for_twice = [&] {
    return 2 * layout.rows * shape.blocks * shape.threads <= static_cast<int64_t>(kThreadsPerSm) * device.sms;
  };
  if (shape.threads == kThreads && turns >= 1 && room_for_twice()) shape.threads = kMostThreads;
  if (device.sm_90 && turns >= 2 && room_for_twice()) shape.blocks = 2;
  const auto kernel = shape.blocks > 1 ? cross_entropy_of_rows<T, true> : cross_entropy_of_rows<T, false>;
  return rows::launch(kernel, device, shape, layout.rows, stream, losses, logits, layout, target, places, n, ignore_index);
}

}  // namespace

// `logits` has rows of `n` elements of `dtype` (0 float32, 1 float16, 2 bfloat16), `target` a class for each: four numbers each
// make a `rows::Layout`. `losses` gets one float a row, and `mean` the mean of those that count unless it is null. Returns
// null, or what CUDA says went wrong.
const char* cross_entropy_launch(float* losses, float* mean, const void* logits, const int64_t* logits_rows,
                                 const int64_t* target, const int64_t* target_places, int64_t n, int64_t ignore_index,
                                 int dtype, void* stream) {
  const Layout layout = Layout::of(logits_rows), places = Layout::of(target_places);
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  cudaError_t error = cudaSuccess;
  if (layout.rows > 0) {
    error = rows::with_dtype(dtype, [&](auto element) {
      using T = decltype(element);
      return launch<T>(losses, static_cast<const T*>(logits), layout, target, places, n, ignore_index, on);
    });
  }
  if (error == cudaSuccess && mean != nullptr) {
    const rows::Device device = rows::device_of(mean_of_counted);
    error = rows::start(mean_of_counted, device, dim3(1), dim3(1024), 1, on, mean, losses, layout.rows, target, places,
                        ignore_index);
  }
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
