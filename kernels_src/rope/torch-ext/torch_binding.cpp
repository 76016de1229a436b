// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* rope_launch(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides,
                        bool interleaved, int dtype, int table_dtype, void* stream);
#else
void rope_cpu(void* const* outputs, const void* const* inputs, const int64_t* sizes, const int64_t* strides, bool interleaved,
              int dtype, int table_dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "rope";

// Of a dimension of one element a stride says nothing: with 0 it spoils no alignment.
int64_t stride_of(const Tensor& t, int64_t d) { return t.size(d) > 1 ? t.stride(d) : 0; }

void expect_heads(const char* name, const Tensor& t) {
  if (t.dim() != 4) {
    tensors::fail(kOp, std::string(name) + " must have shape (batch, heads, seq, head_dim), but has shape " +
                           tensors::shape_of(t));
  }
  if (t.size(3) > 1 && t.stride(3) != 1) {
    tensors::fail(kOp, std::string(name) + " must be contiguous in its last dimension, but has stride " +
                           std::to_string(t.stride(3)) + " there: call .contiguous()");
  }
}

void expect_like_q(const Tensor& k, const Tensor& q) {
  tensors::expect_like(kOp, "k", k, "q", q);
  expect_heads("k", k);
  for (const int64_t d : {0, 2, 3}) {
    if (k.size(d) == q.size(d)) continue;
    tensors::fail(kOp, "k must have the shape of q, " + tensors::shape_of(q) + ", but for the number of heads, and has shape " +
                           tensors::shape_of(k));
  }
}

int64_t rotated(std::optional<int64_t> rotary_dim, int64_t head_dim) {
  const int64_t wanted = rotary_dim.value_or(head_dim);
  if (wanted < 0 || wanted > head_dim || wanted % 2 != 0) {
    tensors::fail(kOp, "rotary_dim must be even and from 0 to head_dim, the last dimension of q, which is " +
                           std::to_string(head_dim) + ", but is " + std::to_string(wanted));
  }
  return wanted;
}

// `t` holds an angle's cosine or sine for each pair of elements, or twice the same ones, of which the first are read.
void expect_table(const char* name, const Tensor& t, const Tensor& q, int64_t rotary_dim, bool interleaved) {
  tensors::expect_on_backend(kOp, name, t);
  if (t.get_device_index() != q.get_device_index()) {
    tensors::fail(kOp, std::string(name) + " must be on the same device as q, but is on device " +
                           std::to_string(t.get_device_index()) + " and q on " + std::to_string(q.get_device_index()));
  }
  if (t.scalar_type() != q.scalar_type() && t.scalar_type() != tensors::ScalarType::Float) {
    tensors::fail(kOp, std::string(name) + " must be float32 or have the dtype of q, " + tensors::dtype_name(q.scalar_type()) +
                           ", but is " + tensors::dtype_name(t.scalar_type()));
  }
  const int64_t dims = t.dim(), width = dims > 0 ? t.size(dims - 1) : -1;
  const bool leads = dims == 2 || (dims == 3 && (t.size(0) == 1 || t.size(0) == q.size(0)));
  if (!leads || t.size(dims - 2) != q.size(2) || (width != rotary_dim / 2 && (interleaved || width != rotary_dim))) {
    const std::string batch = std::to_string(q.size(0)), seq = std::to_string(q.size(2));
    const std::string pairs = std::to_string(rotary_dim / 2), full = std::to_string(rotary_dim);
    tensors::fail(kOp, std::string(name) + " must have shape (" + seq + ", w), (1, " + seq + ", w) or (" + batch + ", " + seq +
                           ", w) with w = rotary_dim / 2 = " + pairs +
                           (interleaved ? "" : ", or rotary_dim = " + full + " where the second half repeats the first,") +
                           " but has shape " + tensors::shape_of(t));
  }
  if (width > 1 && t.stride(dims - 1) != 1) {
    tensors::fail(kOp, std::string(name) + " must be contiguous in its last dimension, but has stride " +
                           std::to_string(t.stride(dims - 1)) + " there: call .contiguous()");
  }
}

// A new tensor of the shape of `like` without gaps, with heads inside of positions where `like` has them so.
Tensor empty_in_order(const Tensor& like) {
  const int64_t batch = like.size(0), heads = like.size(1), seq = like.size(2), dim = like.size(3);
  const bool heads_inside = like.stride(1) < like.stride(2);
  const auto some = [](int64_t size) { return std::max<int64_t>(size, 1); };
  const int64_t inner = some(dim), outer = inner * some(heads_inside ? heads : seq);
  const std::array<int64_t, 4> sizes{batch, heads, seq, dim};
  const std::array<int64_t, 4> strides{outer * some(heads_inside ? seq : heads), heads_inside ? inner : outer,
                                       heads_inside ? outer : inner, 1};
  int32_t dtype, device_type;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(4, sizes.data(), strides.data(), dtype, device_type, like.get_device_index(), &handle) !=
      AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("no memory for a result like an input of shape " + tensors::shape_of(like));
  }
  return Tensor(handle);
}

std::tuple<Tensor, Tensor> rope(Tensor q, Tensor k, Tensor cos, Tensor sin, std::optional<int64_t> rotary_dim,
                                bool interleaved) {
  tensors::expect_on_backend(kOp, "q", q);
  const int dtype = tensors::dtype_code(kOp, "q", q);
  expect_heads("q", q);
  expect_like_q(k, q);
  const int64_t rotary = rotated(rotary_dim, q.size(3));
  expect_table("cos", cos, q, rotary, interleaved);
  expect_table("sin", sin, q, rotary, interleaved);
  if (sin.scalar_type() != cos.scalar_type()) {
    tensors::fail(kOp, "sin must have the dtype of cos, " + tensors::dtype_name(cos.scalar_type()) + ", but is " +
                           tensors::dtype_name(sin.scalar_type()));
  }
  Tensor q_out = empty_in_order(q), k_out = empty_in_order(k);
  if (q.numel() + k.numel() == 0) return {q_out, k_out};

  const int64_t sizes[6] = {q.size(0), q.size(1), k.size(1), q.size(2), q.size(3), rotary};
  int64_t strides[16];
  int64_t* next = strides;
  for (const Tensor* t : {&q, &k, &q_out, &k_out}) {
    for (const int64_t d : {0, 1, 2}) *next++ = stride_of(*t, d);
  }
  for (const Tensor* t : {&cos, &sin}) {
    *next++ = t->dim() == 3 ? stride_of(*t, 0) : 0;
    *next++ = stride_of(*t, t->dim() - 2);
  }
  void* const outputs[2] = {q_out.data_ptr(), k_out.data_ptr()};
  const void* const inputs[4] = {q.data_ptr(), k.data_ptr(), cos.data_ptr(), sin.data_ptr()};
  const int table_dtype = tensors::dtype_code(kOp, "cos", cos);
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(q);
  tensors::expect_launched(kOp,
                           rope_launch(outputs, inputs, sizes, strides, interleaved, dtype, table_dtype, launch.stream));
#else
  rope_cpu(outputs, inputs, sizes, strides, interleaved, dtype, table_dtype);
#endif
  return {q_out, k_out};
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("rope(Tensor q, Tensor k, Tensor cos, Tensor sin, int? rotary_dim, bool interleaved) -> (Tensor, Tensor)");
}

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("rope", TORCH_BOX(&rope)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("rope", TORCH_BOX(&rope)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
