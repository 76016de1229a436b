// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* cross_entropy_launch(float* losses, float* mean, const void* logits, const int64_t* logits_rows,
                                 const int64_t* target, const int64_t* target_places, int64_t n, int64_t ignore_index,
                                 int dtype, void* stream);
#else
const int64_t* cross_entropy_cpu(float* losses, float* mean, const void* logits, const int64_t* logits_rows,
                                 const int64_t* target, const int64_t* target_places, int64_t n, int64_t ignore_index,
                                 int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "cross_entropy";

// `target` must hold an int64 for each row of `logits`, and be where `logits` is.
void expect_targets(const Tensor& target, const Tensor& logits) {
  tensors::expect_on_backend(kOp, "target", target);
  if (target.get_device_index() != logits.get_device_index()) {
    tensors::fail(kOp, "target must be on the same device as logits, but is on device " +
                           std::to_string(target.get_device_index()) + " and logits on " +
                           std::to_string(logits.get_device_index()));
  }
  if (target.scalar_type() != tensors::ScalarType::Long) {
    tensors::fail(kOp, "target must be int64, but is " + tensors::dtype_name(target.scalar_type()));
  }
  bool fits = target.dim() == logits.dim() - 1;
  for (int64_t d = 0; fits && d < target.dim(); ++d) fits = target.size(d) == logits.size(d);
  if (!fits) {
    tensors::fail(kOp, "target must have the shape of logits, " + tensors::shape_of(logits) +
                           ", without its last dimension, but has shape " + tensors::shape_of(target));
  }
}

// Where the elements of `t` lie, as rows of one element: `tensors::rows_of` would take its last dimension for the rows.
std::array<int64_t, 4> places_of(const char* name, const Tensor& t) {
  int64_t inner = 1, inner_stride = 0, outer = 1, outer_stride = 0;
  for (int64_t d = t.dim() - 1; d >= 0; --d) {
    const int64_t size = t.size(d), stride = t.stride(d);
    if (size == 1) continue;
    if (outer == 1 && (inner == 1 || stride == inner * inner_stride)) {
      if (inner == 1) inner_stride = stride;
      inner *= size;
    } else if (outer == 1 || stride == outer * outer_stride) {
      if (outer == 1) outer_stride = stride;
      outer *= size;
    } else if (t.numel() > 0) {
      tensors::fail(kOp, std::string(name) + " has strides that do not collapse into two levels: call .contiguous()");
    }
  }
  return {t.numel(), outer == 1 ? t.numel() : inner, outer_stride, inner_stride};
}

// A new float32 tensor on the device of `like`, of its shape, or without dimensions where it is to hold one number.
Tensor new_floats(const Tensor& like, bool one) {
  constexpr int64_t kMostDims = 16;
  const int64_t dims = one ? 0 : like.dim();
  if (dims > kMostDims) throw std::runtime_error("tensors of more than 16 dimensions are not supported");
  std::array<int64_t, kMostDims> sizes{}, strides{};
  int64_t stride = 1;
  for (int64_t d = dims - 1; d >= 0; --d) {
    sizes[d] = like.size(d);
    strides[d] = stride;
    stride *= sizes[d] > 0 ? sizes[d] : 1;
  }
  int32_t device_type;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(dims, sizes.data(), strides.data(), aoti_torch_dtype_float32(), device_type,
                               like.get_device_index(), &handle) != AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("no memory for losses of shape " + tensors::shape_of(like));
  }
  return Tensor(handle);
}

Tensor cross_entropy(Tensor logits, Tensor target, int64_t ignore_index, bool mean) {
  tensors::expect_on_backend(kOp, "logits", logits);
  const int dtype = tensors::dtype_code(kOp, "logits", logits);
  const tensors::Rows rows = tensors::rows_of(kOp, "logits", logits);
  if (rows.length == 0) {
    tensors::fail(kOp, "logits must have at least one class, but has shape " + tensors::shape_of(logits));
  }
  expect_targets(target, logits);
  const std::array<int64_t, 4> places = places_of("target", target);
  Tensor losses = new_floats(target, false);
  Tensor out = mean ? new_floats(target, true) : losses;
  if (rows.count() == 0 && !mean) return out;
  float *loss = static_cast<float*>(losses.data_ptr()), *average = mean ? static_cast<float*>(out.data_ptr()) : nullptr;
  const int64_t* labels = static_cast<const int64_t*>(target.data_ptr());
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(logits);
  tensors::expect_launched(kOp, cross_entropy_launch(loss, average, logits.data_ptr(), rows.layout, labels, places.data(),
                                                     rows.length, ignore_index, dtype, launch.stream));
#else
  const int64_t* wrong = cross_entropy_cpu(loss, average, logits.data_ptr(), rows.layout, labels, places.data(), rows.length,
                                           ignore_index, dtype);
  if (wrong != nullptr) {
    tensors::fail(kOp, "target must hold classes from 0 to " + std::to_string(rows.length - 1) + " or ignore_index, " +
                           std::to_string(ignore_index) + ", but holds " + std::to_string(*wrong));
  }
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("cross_entropy(Tensor logits, Tensor target, int ignore_index, bool mean) -> Tensor");
}

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("cross_entropy", TORCH_BOX(&cross_entropy)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("cross_entropy", TORCH_BOX(&cross_entropy)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
