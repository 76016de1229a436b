// Rotary position embeddings: each pair (a, b) of the first `rotary_dim` elements of a head becomes
// (a cos - b sin, b cos + a sin), of q and of k. A pair is the elements i and rotary_dim / 2 + i, or 2 i and 2 i + 1
// (interleaved).
//
// Bytes moved: q and k are read once and written once, 2 * batch * (q_heads + k_heads) * seq * head_dim * sizeof(T); cosines
// and sines once, 2 * seq * rotary_dim / 2 * sizeof(C), as often as they differ between batches.
// Limit: DRAM bandwidth, at four multiplications and two additions a pair.
// Rule: a thread takes the same pairs of two heads at one position, two 16-byte vectors of each, or of four heads where a
// vector holds whole pairs (interleaved), so that 64 bytes are in flight and one read of cosines and sines serves all. A block
// takes all heads of q and k at one position, so that its cosines and sines come from L2 once; it has at most 256 threads, else
// the heads are shared out between blocks, and at least 128, else it takes more positions. At most 64 registers a thread leave
// 1024 threads an SM, 64 KB in flight.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include "launch.cuh"
#include "rows.cuh"

namespace {

constexpr int kMostThreads = 256;
constexpr int kLeastThreads = 128;
constexpr int kBlocksPerSm = 4;

// Of q or k; strides in elements, of batch, head and position.
template <typename T>
struct Heads {
  const T* in;
  T* out;
  int64_t in_stride[3];
  int64_t out_stride[3];
};

// Of cosines or sines; strides in elements, of batch and position.
template <typename C>
struct Table {
  const C* data;
  int64_t stride[2];

  __device__ const C* at(int64_t batch, int64_t position) const { return data + batch * stride[0] + position * stride[1]; }
};

template <typename T, typename C>
struct Job {
  Heads<T> q, k;
  Table<C> cos, sin;
  int64_t batch, seq;
  int q_heads, heads;    // of q; of q and k
  int dim, rotary_dim;
  unsigned cuts;         // blocks that share the heads of a position
};

// What a thread takes at once: `kVectors` of `kLanes` elements, 16 bytes or one, of each of `kHeads` heads.
template <int kLanes_, bool kInterleaved>
struct Share {
  static constexpr int kLanes = kLanes_;
  static constexpr bool kWholePairs = kInterleaved && kLanes > 1;  // in each vector, else between two
  static constexpr int kVectors = kWholePairs ? 1 : 2;
  static constexpr int kHeads = 4 / kVectors;
  static constexpr int kPairs = kWholePairs ? kLanes / 2 : kLanes;
  static constexpr int kElements = kVectors * kLanes;

  // Where in a head the vectors of the `unit`-th share start.
  __device__ static int at(int unit, int vector, int half) {
    return kInterleaved ? unit * kElements + vector : unit * kLanes + vector * half;
  }
};

// The head of q or k that a thread turns.
template <typename T>
struct Head {
  const T* in = nullptr;
  T* out = nullptr;
};

template <typename T, typename C>
__device__ __forceinline__ Head<T> head_at(const Job<T, C>& job, int64_t head, int64_t batch, int64_t position) {
  if (head >= job.heads) return {};
  if (head < job.q_heads) {
    const Heads<T>& q = job.q;
    return {q.in + batch * q.in_stride[0] + head * q.in_stride[1] + position * q.in_stride[2],
            q.out + batch * q.out_stride[0] + head * q.out_stride[1] + position * q.out_stride[2]};
  }
  head -= job.q_heads;
  const Heads<T>& k = job.k;
  return {k.in + batch * k.in_stride[0] + head * k.in_stride[1] + position * k.in_stride[2],
          k.out + batch * k.out_stride[0] + head * k.out_stride[1] + position * k.out_stride[2]};
}

// 16 bytes at a time, as far as there are so many.
template <typename C, int kPairs>
__device__ __forceinline__ void read_table(const C* address, float (&pair)[kPairs]) {
  if constexpr (kPairs == 1) {
    pair[0] = rows::to_float(*address);
  } else if constexpr (kPairs < rows::kLanes<C>) {
    const uint2 words = __ldg(reinterpret_cast<const uint2*>(address));
    float twice[rows::kLanes<C>];
    rows::unpack<C>(make_uint4(words.x, words.y, 0, 0), twice);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) pair[i] = twice[i];
  } else {
#pragma unroll
    for (int i = 0; i < kPairs; i += rows::kLanes<C>) {
      float part[rows::kLanes<C>];
      rows::unpack<C>(rows::load_shared_by_rows(address + i), part);
#pragma unroll
      for (int k = 0; k < rows::kLanes<C>; ++k) pair[i + k] = part[k];
    }
  }
}

__device__ __forceinline__ void turn(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = b * cos + a * sin;
  a = turned;
}

template <typename S>
__device__ __forceinline__ void turn_all(float (&x)[S::kVectors][S::kLanes], const float (&cos)[S::kPairs],
                                         const float (&sin)[S::kPairs]) {
#pragma unroll
  for (int k = 0; k < S::kPairs; ++k) {
    if constexpr (S::kWholePairs) {
      turn(x[0][2 * k], x[0][2 * k + 1], cos[k], sin[k]);
    } else {
      turn(x[0][k], x[1][k], cos[k], sin[k]);
    }
  }
}

template <typename S, typename T, typename C>
__device__ __forceinline__ void turn_unit(const Head<T> (&head)[S::kHeads], const C* cos, const C* sin, int unit, int half) {
  rows::Packed<T, S::kLanes> packed[S::kHeads][S::kVectors];
#pragma unroll
  for (int j = 0; j < S::kHeads; ++j) {
    if (head[j].in == nullptr) continue;
#pragma unroll
    for (int v = 0; v < S::kVectors; ++v) packed[j][v] = rows::load_packed<T, S::kLanes>(head[j].in + S::at(unit, v, half));
  }
  rows::let_next_start();
  float c[S::kPairs], s[S::kPairs];
  read_table<C, S::kPairs>(cos + unit * S::kPairs, c);
  read_table<C, S::kPairs>(sin + unit * S::kPairs, s);
#pragma unroll
  for (int j = 0; j < S::kHeads; ++j) {
    if (head[j].in == nullptr) continue;
    float x[S::kVectors][S::kLanes];
#pragma unroll
    for (int v = 0; v < S::kVectors; ++v) rows::unpack_packed<T, S::kLanes>(packed[j][v], x[v]);
    turn_all<S>(x, c, s);
#pragma unroll
    for (int v = 0; v < S::kVectors; ++v) rows::write<T, S::kLanes>(head[j].out + S::at(unit, v, half), x[v]);
  }
}

// A thread's share of what lies behind the pairs, from the element `at` on.
template <typename S, typename T>
__device__ __forceinline__ void copy_unit(const Head<T> (&head)[S::kHeads], int at, int dim) {
#pragma unroll
  for (int v = 0; v < S::kVectors; ++v, at += S::kLanes) {
    if (at >= dim) continue;
#pragma unroll
    for (int j = 0; j < S::kHeads; ++j) {
      if (head[j].in == nullptr) continue;
      float x[S::kLanes];
      rows::read<T, S::kLanes>(head[j].in + at, x);
      rows::write<T, S::kLanes>(head[j].out + at, x);
    }
  }
}

// threadIdx.x counts shares of a head, .y heads, .z positions. `kLanes` elements at a time: 16 bytes, or one where it must be.
template <typename T, typename C, int kLanes, bool kInterleaved>
__global__ void __launch_bounds__(kMostThreads, kBlocksPerSm) rope_kernel(const Job<T, C> job) {
  using S = Share<kLanes, kInterleaved>;
  const unsigned cut = blockIdx.x % job.cuts;
  const int64_t position = static_cast<int64_t>(blockIdx.x / job.cuts) * blockDim.z + threadIdx.z;
  if (position >= job.batch * job.seq) return;
  const int64_t batch = rows::divide(position, job.seq), place = position - batch * job.seq;
  Head<T> head[S::kHeads];
#pragma unroll
  for (int j = 0; j < S::kHeads; ++j) {
    head[j] = head_at(job, (static_cast<int64_t>(cut) * S::kHeads + j) * blockDim.y + threadIdx.y, batch, place);
  }
  const C* cos = job.cos.at(batch, place);
  const C* sin = job.sin.at(batch, place);
  const int half = job.rotary_dim / 2;
  rows::wait_for_previous();
  int unit = threadIdx.x;
  do {
    const int at = unit * S::kElements;
    if (at < job.rotary_dim) {
      turn_unit<S>(head, cos, sin, unit, half);
    } else {
      copy_unit<S>(head, at, job.dim);
    }
    unit += blockDim.x;
    // Vectors take one turn: as a loop they would hold more addresses than there are registers.
  } while (kLanes == 1 && unit * S::kElements < job.dim);
}

template <typename T, typename C, int kLanes, bool kInterleaved>
cudaError_t launch(Job<T, C> job, cudaStream_t stream) {
  using S = Share<kLanes, kInterleaved>;
  const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t units = ceil(job.dim, S::kElements), slots = ceil(job.heads, S::kHeads);
  const int64_t x = units < kMostThreads ? units : kMostThreads;
  job.cuts = static_cast<unsigned>(ceil(slots, kMostThreads / x));
  const int64_t y = ceil(slots, job.cuts);
  const int64_t z = x * y < kLeastThreads ? (kLeastThreads / (x * y) < 64 ? kLeastThreads / (x * y) : 64) : 1;
  const int64_t blocks = ceil(job.batch * job.seq, z) * job.cuts;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const dim3 block(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
  const rows::Device device = rows::device_of(rope_kernel<T, C, kLanes, kInterleaved>);
  const dim3 grid(static_cast<unsigned>(blocks));
  return rows::start(rope_kernel<T, C, kLanes, kInterleaved>, device, grid, block, 1, stream, job);
}

template <typename T>
bool aligned(const Heads<T>& heads) {
  bool multiple = rows::aligned(heads.in) && rows::aligned(heads.out);
  for (int i = 0; i < 3; ++i) {
    multiple = multiple && heads.in_stride[i] % rows::kLanes<T> == 0 && heads.out_stride[i] % rows::kLanes<T> == 0;
  }
  return multiple;
}

template <typename C>
bool aligned(const Table<C>& table) {
  return rows::aligned(table.data) && table.stride[0] % rows::kLanes<C> == 0 && table.stride[1] % rows::kLanes<C> == 0;
}

// Whether heads, their turned part, cosines and sines can be taken in vectors, one for each thread of a block at most.
template <typename T, typename C>
bool aligned(const Job<T, C>& job, bool interleaved) {
  constexpr int kLanes = rows::kLanes<T>;
  const int share = interleaved ? kLanes : 2 * kLanes;
  return job.dim <= share * kMostThreads && job.rotary_dim % share == 0 && job.dim % kLanes == 0 && aligned(job.q) &&
         aligned(job.k) && aligned(job.cos) && aligned(job.sin);
}

template <typename T, typename C>
cudaError_t launch_best(const Job<T, C>& job, bool interleaved, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  if (!aligned(job, interleaved)) return interleaved ? launch<T, C, 1, true>(job, stream) : launch<T, C, 1, false>(job, stream);
  return interleaved ? launch<T, C, kLanes, true>(job, stream) : launch<T, C, kLanes, false>(job, stream);
}

template <typename T, typename C>
Job<T, C> job_of(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides) {
  const auto heads = [&](int i) {
    const int64_t *from = strides + 3 * i, *to = strides + 6 + 3 * i;
    return Heads<T>{
        static_cast<const T*>(inputs[i]), static_cast<T*>(outputs[i]), {from[0], from[1], from[2]}, {to[0], to[1], to[2]}};
  };
  const auto table = [&](int i) {
    return Table<C>{static_cast<const C*>(inputs[2 + i]), {strides[12 + 2 * i], strides[13 + 2 * i]}};
  };
  return {heads(0),
          heads(1),
          table(0),
          table(1),
          sizes[0],
          sizes[3],
          static_cast<int>(sizes[1]),
          static_cast<int>(sizes[1] + sizes[2]),
          static_cast<int>(sizes[4]),
          static_cast<int>(sizes[5]),
          1};
}

}  // namespace

// `outputs` are those of q and k, `inputs` q, k, cosines and sines. `sizes`: batch, heads of q, heads of k, positions,
// head_dim, rotary_dim. `strides`, in elements: of batch, head and position for q, k and their outputs, of batch and position
// for cosines and sines. `dtype` is that of q and k (0 float32, 1 float16, 2 bfloat16), `table_dtype` that of cosines and
// sines: the same, or float32. Returns null, or what CUDA says went wrong.
const char* rope_launch(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides,
                        bool interleaved, int dtype, int table_dtype, void* stream) {
  // Heads and their elements are counted in 32 bits.
  if (sizes[1] + sizes[2] > 0x3fffffff || sizes[4] > 0x3fffffff) return cudaGetErrorString(cudaErrorInvalidValue);
  const cudaError_t error = rows::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    const auto on = static_cast<cudaStream_t>(stream);
    if (table_dtype == rows::kFloat32) {
      return launch_best(job_of<T, float>(outputs, inputs, sizes, strides), interleaved, on);
    }
    return launch_best(job_of<T, T>(outputs, inputs, sizes, strides), interleaved, on);
  });
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
