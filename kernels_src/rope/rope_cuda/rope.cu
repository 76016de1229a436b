// Rotary position embeddings: each pair (a, b) of the first `rotary_dim` elements of a head becomes
// (a cos - b sin, b cos + a sin), of q and of k. A pair is the elements i and rotary_dim / 2 + i, or 2 i and 2 i + 1
// (interleaved).
//
// Bytes moved: q and k are read once and written once, 2 * batch * (q_heads + k_heads) * seq * head_dim * sizeof(T); cosines and
// sines once, 2 * seq * rotary_dim / 2 * sizeof(C), as often as they differ between batches.
// Limit: DRAM bandwidth, at four multiplications and two additions a pair.
// Rule: a thread takes the same pairs, two 16-byte vectors, of two heads at one position, so that 64 bytes are in flight and one
// read of cosines and sines serves both. A block takes all heads of q and k at one position, so that its cosines and sines come
// from L2 once; it has at most 256 threads, else the heads are shared out between blocks, and at least 128, else it takes more
// positions. 64 registers a thread leave 1024 threads an SM, 64 KB in flight.
// Interleaved pairs put a thread's two vectors side by side, so a warp touches each sector twice: those loads keep their lines in
// L1.
// One source from sm_75 to sm_121; nothing here asks for more than sm_75 has.

#include <type_traits>

#include "rows.cuh"

namespace {

constexpr int kHeads = 2;  // of one thread
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

template <typename C, int kLanes>
__device__ __forceinline__ void read_table(const C* address, float (&lane)[kLanes]) {
  if constexpr (kLanes == 1) {
    lane[0] = rows::to_float(*address);
  } else {
    constexpr int kEach = rows::kLanes<C>;
#pragma unroll
    for (int i = 0; i < kLanes; i += kEach) {
      float part[kEach];
      rows::unpack<C>(rows::load_shared_by_rows(address + i), part);
#pragma unroll
      for (int k = 0; k < kEach; ++k) lane[i + k] = part[k];
    }
  }
}

// `kLanes` elements as they lie in memory: 16 bytes, or one.
template <typename T, int kLanes>
using Packed = std::conditional_t<kLanes == 1, T, uint4>;

template <bool kKeepInL1, typename T, int kLanes>
__device__ __forceinline__ Packed<T, kLanes> load_head(const T* address) {
  if constexpr (kLanes == 1) {
    return *address;
  } else if constexpr (kKeepInL1) {
    return *reinterpret_cast<const uint4*>(address);
  } else {
    return rows::load_once(address);
  }
}

template <typename T, int kLanes>
__device__ __forceinline__ void unpack_head(Packed<T, kLanes>& packed, float (&lane)[kLanes]) {
  if constexpr (kLanes == 1) {
    lane[0] = rows::to_float(packed);
  } else {
    rows::keep_packed(packed);
    rows::unpack<T>(packed, lane);
  }
}

__device__ __forceinline__ void turn(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = b * cos + a * sin;
  a = turned;
}

// The pairs of two vectors: between them, or within each of them.
template <bool kInterleaved, int kLanes>
__device__ __forceinline__ void turn_all(float (&x)[kLanes], float (&y)[kLanes], const float (&cos)[kLanes],
                                         const float (&sin)[kLanes]) {
  if constexpr (kInterleaved && kLanes > 1) {
    constexpr int kHalf = kLanes / 2;
#pragma unroll
    for (int k = 0; k < kHalf; ++k) {
      turn(x[2 * k], x[2 * k + 1], cos[k], sin[k]);
      turn(y[2 * k], y[2 * k + 1], cos[kHalf + k], sin[kHalf + k]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < kLanes; ++k) turn(x[k], y[k], cos[k], sin[k]);
  }
}

// `kLanes` pairs of a thread's heads, from the `unit`-th on.
template <typename T, typename C, int kLanes, bool kInterleaved>
__device__ __forceinline__ void turn_unit(const Head<T> (&head)[kHeads], const C* cos, const C* sin, int unit, int half) {
  const int one = unit * kLanes * (kInterleaved ? 2 : 1);
  const int other = one + (kInterleaved ? kLanes : half);
  Packed<T, kLanes> first[kHeads], second[kHeads];
#pragma unroll
  for (int j = 0; j < kHeads; ++j) {
    if (head[j].in == nullptr) continue;
    first[j] = load_head<kInterleaved, T, kLanes>(head[j].in + one);
    second[j] = load_head<kInterleaved, T, kLanes>(head[j].in + other);
  }
  float c[kLanes], s[kLanes];
  read_table<C, kLanes>(cos + unit * kLanes, c);
  read_table<C, kLanes>(sin + unit * kLanes, s);
#pragma unroll
  for (int j = 0; j < kHeads; ++j) {
    if (head[j].in == nullptr) continue;
    float x[kLanes], y[kLanes];
    unpack_head<T, kLanes>(first[j], x);
    unpack_head<T, kLanes>(second[j], y);
    turn_all<kInterleaved, kLanes>(x, y, c, s);
    rows::write<T, kLanes>(head[j].out + one, x);
    rows::write<T, kLanes>(head[j].out + other, y);
  }
}

// A thread's share of what lies behind the pairs: `kLanes` elements at `at`, and as many after them.
template <typename T, int kLanes>
__device__ __forceinline__ void copy_unit(const Head<T> (&head)[kHeads], int at, int dim) {
#pragma unroll
  for (int i = 0; i < 2; ++i, at += kLanes) {
    if (at >= dim) continue;
#pragma unroll
    for (int j = 0; j < kHeads; ++j) {
      if (head[j].in == nullptr) continue;
      float x[kLanes];
      rows::read_once<T, kLanes>(head[j].in + at, x);
      rows::write<T, kLanes>(head[j].out + at, x);
    }
  }
}

// threadIdx.x counts pairs, .y heads, .z positions. `kLanes` elements at a time: 16 bytes, or one where that is not aligned.
template <typename T, typename C, int kLanes, bool kInterleaved>
__global__ void __launch_bounds__(kMostThreads, kBlocksPerSm) rope_kernel(const Job<T, C> job) {
  const unsigned cut = blockIdx.x % job.cuts;
  const int64_t position = static_cast<int64_t>(blockIdx.x / job.cuts) * blockDim.z + threadIdx.z;
  if (position >= job.batch * job.seq) return;
  const int64_t batch = rows::divide(position, job.seq), place = position - batch * job.seq;
  Head<T> head[kHeads];
#pragma unroll
  for (int j = 0; j < kHeads; ++j) {
    head[j] = head_at(job, (static_cast<int64_t>(cut) * kHeads + j) * blockDim.y + threadIdx.y, batch, place);
  }
  const C* cos = job.cos.at(batch, place);
  const C* sin = job.sin.at(batch, place);
  const int half = job.rotary_dim / 2;
  int unit = threadIdx.x;
  do {
    const int turned = half / kLanes;
    if (unit < turned) {
      turn_unit<T, C, kLanes, kInterleaved>(head, cos, sin, unit, half);
    } else {
      copy_unit<T, kLanes>(head, job.rotary_dim + (unit - turned) * 2 * kLanes, job.dim);
    }
    unit += blockDim.x;
    // Vectors take one turn: as a loop they would hold more addresses than there are registers.
  } while (kLanes == 1 && 2 * unit < job.dim);
}

template <typename T, typename C>
cudaError_t launch(void (*kernel)(Job<T, C>), Job<T, C> job, int lanes, cudaStream_t stream) {
  const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t units = ceil(job.dim, 2 * lanes), slots = ceil(job.heads, kHeads);
  const int64_t x = units < kMostThreads ? units : kMostThreads;
  job.cuts = static_cast<unsigned>(ceil(slots, kMostThreads / x));
  const int64_t y = ceil(slots, job.cuts);
  const int64_t z = x * y < kLeastThreads ? (kLeastThreads / (x * y) < 64 ? kLeastThreads / (x * y) : 64) : 1;
  const int64_t blocks = ceil(job.batch * job.seq, z) * job.cuts;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  const dim3 block(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
  kernel<<<static_cast<unsigned>(blocks), block, 0, stream>>>(job);
  return cudaGetLastError();
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

template <typename T, typename C>
cudaError_t launch_best(const Job<T, C>& job, bool interleaved, cudaStream_t stream) {
  constexpr int kLanes = rows::kLanes<T>;
  if (job.dim <= 2 * kLanes * kMostThreads && job.rotary_dim % (2 * kLanes) == 0 && job.dim % kLanes == 0 && aligned(job.q) && aligned(job.k) && aligned(job.cos) &&
      aligned(job.sin)) {
    return launch(interleaved ? rope_kernel<T, C, kLanes, true> : rope_kernel<T, C, kLanes, false>, job, kLanes, stream);
  }
  return launch(interleaved ? rope_kernel<T, C, 1, true> : rope_kernel<T, C, 1, false>, job, 1, stream);
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

// `outputs` are those of q and k, `inputs` q, k, cosines and sines. `sizes`: batch, heads of q, heads of k, positions, head_dim,
// rotary_dim. `strides`, in elements: of batch, head and position for q, k and their outputs, of batch and position for cosines
// and sines. `dtype` is that of q and k (0 float32, 1 float16, 2 bfloat16), `table_dtype` that of cosines and sines: the same, or
// float32. Returns null, or what CUDA says went wrong.
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
