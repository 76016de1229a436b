// What the bindings share: checks that name the argument, rows of a tensor, a new tensor, the current stream.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>

// Declared here because its own declaration is only seen with the headers of CUDA.
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace tensors {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

#if defined(CUDA_KERNEL)
constexpr const char* kBackend = "CUDA";
#else
constexpr const char* kBackend = "CPU";
#endif

[[noreturn]] inline void fail(const char* op, const std::string& what) {
  throw std::runtime_error(std::string(op) + ": " + what);
}

inline std::string shape_of(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) text += (i ? ", " : "") + std::to_string(t.size(i));
  return text + (t.dim() == 1 ? ",)" : ")");
}

inline std::string dtype_name(ScalarType type) {
  switch (type) {
    case ScalarType::Float: return "float32";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Double: return "float64";
    default: return std::string("dtype ") + torch::headeronly::toString(type);
  }
}

// 0 float32, 1 float16, 2 bfloat16: what the kernels call a dtype.
inline int dtype_code(const char* op, const char* name, const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return 0;
    case ScalarType::Half: return 1;
    case ScalarType::BFloat16: return 2;
    default: fail(op, std::string(name) + " must be float32, float16 or bfloat16, but is " + dtype_name(t.scalar_type()));
  }
}

inline void expect_on_backend(const char* op, const char* name, const Tensor& t) {
#if defined(CUDA_KERNEL)
  const bool here = t.is_cuda();
#else
  const bool here = t.is_cpu();
#endif
  if (!here) fail(op, std::string(name) + " must be a " + kBackend + " tensor: this build has " + kBackend + " kernels only");
}

// `t` must be on the device of `like` and have its dtype.
inline void expect_like(const char* op, const char* name, const Tensor& t, const char* like_name, const Tensor& like) {
  expect_on_backend(op, name, t);
  if (t.get_device_index() != like.get_device_index()) {
    fail(op, std::string(name) + " must be on the same device as " + like_name + ", but is on device " +
                 std::to_string(t.get_device_index()) + " and " + like_name + " on " + std::to_string(like.get_device_index()));
  }
  if (t.scalar_type() != like.scalar_type()) {
    fail(op, std::string(name) + " must have the dtype of " + like_name + ", " + dtype_name(like.scalar_type()) + ", but is " +
                 dtype_name(t.scalar_type()));
  }
}

inline void expect_same_shape(const char* op, const char* name, const Tensor& t, const char* like_name, const Tensor& like) {
  bool same = t.dim() == like.dim();
  for (int64_t d = 0; same && d < t.dim(); ++d) same = t.size(d) == like.size(d);
  if (!same) {
    fail(op,
         std::string(name) + " must have the shape of " + like_name + ", " + shape_of(like) + ", but has shape " + shape_of(t));
  }
}

// `t` must be one contiguous row of `n` elements.
inline void expect_vector(const char* op, const char* name, const Tensor& t, int64_t n) {
  if (t.dim() != 1 || t.size(0) != n) {
    fail(op, std::string(name) + " must have shape (" + std::to_string(n) + ",), the last dimension of x, but has shape " +
                 shape_of(t));
  }
  if (n > 1 && t.stride(0) != 1) fail(op, std::string(name) + " must be contiguous");
}

// A NaN would spread over the whole result, a number below 0 over single rows.
inline void expect_not_negative(const char* op, const char* name, double value) {
  if (!std::isfinite(value) || value < 0) {
    fail(op, std::string(name) + " must be a finite number of at least 0, but is " + std::to_string(value));
  }
}

// The rows of a tensor: row r starts at (r / inner) * outer_stride + (r % inner) * inner_stride elements.
// `layout` holds rows, inner, outer_stride and inner_stride, as the kernels take it.
struct Rows {
  int64_t layout[4];
  int64_t length;

  int64_t count() const { return layout[0]; }
  // Whether the rows lie end to end.
  bool dense() const { return layout[1] == layout[0] && (layout[0] <= 1 || layout[3] == length); }
};

// The last dimension must be contiguous, the leading ones must collapse into two: what slices and head views of a fused
// projection do.
inline Rows rows_of(const char* op, const char* name, const Tensor& t) {
  const int64_t dims = t.dim();
  if (dims == 0) fail(op, std::string(name) + " must have at least one dimension, but is a scalar");
  Rows result{{1, 1, 0, 0}, t.size(dims - 1)};
  int64_t& rows = result.layout[0];
  if (result.length > 1 && t.stride(dims - 1) != 1) {
    fail(op, std::string(name) + " must be contiguous in its last dimension, but has stride " +
                 std::to_string(t.stride(dims - 1)) + " there: call .contiguous()");
  }
  struct Level {
    int64_t size;
    int64_t stride;
  };
  std::array<Level, 2> level{{{1, 0}, {1, 0}}};  // the innermost first
  int used = 0;
  for (int64_t d = dims - 2; d >= 0; --d) {
    const int64_t size = t.size(d), stride = t.stride(d);
    rows *= size;
    if (size == 1) continue;
    if (used > 0 && stride == level[used - 1].size * level[used - 1].stride) {
      level[used - 1].size *= size;
    } else if (used < 2) {
      level[used++] = {size, stride};
    } else {
      if (t.numel() == 0) break;
      fail(op, std::string(name) + " has strides that do not collapse into two levels of rows: call .contiguous()");
    }
  }
  if (t.numel() == 0) rows = 0;
  result.layout[1] = used < 2 ? rows : level[0].size;
  result.layout[2] = level[1].stride;
  result.layout[3] = level[0].stride;
  return result;
}

// `t` is written: each of its elements must have memory of its own, which those of an expanded tensor do not.
inline void expect_no_overlap(const char* op, const char* name, const Rows& rows) {
  if (rows.count() == 0) return;
  std::array<std::array<int64_t, 2>, 2> level{{{rows.layout[3], rows.layout[1]},  // stride, count
                                               {rows.layout[2], rows.layout[0] / rows.layout[1]}}};
  std::sort(level.begin(), level.end());
  int64_t extent = rows.length;
  for (const auto& [stride, count] : level) {
    if (count == 1) continue;
    if (stride < extent) fail(op, std::string(name) + " is written, so its rows must not overlap: call .contiguous()");
    extent += (count - 1) * stride;
  }
}

// `t` is written while `other` is read. Rows that interleave, like those of two slices of one tensor, are taken to be apart.
inline void expect_apart(const char* op, const char* name, const Tensor& t, const Rows& rows, const char* other_name,
                         const Tensor& other, const Rows& other_rows) {
  if (rows.count() == 0 || other_rows.count() == 0) return;
  const int64_t size = t.scalar_type() == ScalarType::Float ? 4 : 2;
  const char *start = static_cast<const char*>(t.data_ptr()), *other_start = static_cast<const char*>(other.data_ptr());
  const bool overlap = start < other_start + other_rows.count() * other_rows.length * size &&
                       other_start < start + rows.count() * rows.length * size;
  if (start == other_start || (overlap && rows.dense() && other_rows.dense())) {
    fail(op, std::string(name) + " must not share memory with " + other_name);
  }
}

// A new contiguous tensor of the dtype and device of `like` and its shape, but for a last dimension of `last` elements. The
// shim's own allocation, since looking up aten::empty_like by name takes longer than the rest of the binding.
inline Tensor empty_contiguous(const Tensor& like, int64_t last) {
  constexpr int64_t kMostDims = 16;
  const int64_t dims = like.dim();
  if (dims > kMostDims) throw std::runtime_error("tensors of more than 16 dimensions are not supported");
  std::array<int64_t, kMostDims> sizes{}, strides{};
  int64_t stride = 1;
  for (int64_t d = dims - 1; d >= 0; --d) {
    sizes[d] = d == dims - 1 ? last : like.size(d);
    strides[d] = stride;
    stride *= sizes[d] > 0 ? sizes[d] : 1;
  }
  int32_t dtype, device_type;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(dims, sizes.data(), strides.data(), dtype, device_type, like.get_device_index(), &handle) !=
      AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("no memory for a result like an input of shape " + shape_of(like));
  }
  return Tensor(handle);
}

inline Tensor empty_contiguous_like(const Tensor& like) {
  return empty_contiguous(like, like.dim() > 0 ? like.size(like.dim() - 1) : 1);
}

#if defined(CUDA_KERNEL)
// Makes the device of `t` current while it lives, and knows the stream to launch on.
class Launch {
 public:
  explicit Launch(const Tensor& t) : guard_(t.get_device_index()) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  }
  void* stream = nullptr;

 private:
  torch::stable::accelerator::DeviceGuard guard_;
};

inline void expect_launched(const char* op, const char* error) {
  if (error != nullptr) fail(op, std::string("the launch failed: ") + error);
}
#endif

}  // namespace tensors
