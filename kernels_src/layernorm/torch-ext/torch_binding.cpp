// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* layernorm_launch(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n,
                             float eps, int dtype, void* stream);
#else
void layernorm_cpu(void* out, const void* x, const void* weight, const void* bias, const int64_t* x_rows, int64_t n, float eps,
                   int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "layernorm";

Tensor layernorm(Tensor x, std::optional<Tensor> weight, std::optional<Tensor> bias, double eps) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  const tensors::Rows rows = tensors::rows_of(kOp, "x", x);
  if (weight) {
    tensors::expect_like(kOp, "weight", *weight, "x", x);
    tensors::expect_vector(kOp, "weight", *weight, rows.length);
  }
  if (bias) {
    tensors::expect_like(kOp, "bias", *bias, "x", x);
    tensors::expect_vector(kOp, "bias", *bias, rows.length);
  }
  tensors::expect_not_negative(kOp, "eps", eps);
  Tensor out = tensors::empty_contiguous_like(x);
  if (rows.count() == 0) return out;
  const void* scale = weight ? weight->data_ptr() : nullptr;
  const void* shift = bias ? bias->data_ptr() : nullptr;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(kOp, layernorm_launch(out.data_ptr(), x.data_ptr(), scale, shift, rows.layout, rows.length,
                                                 static_cast<float>(eps), dtype, launch.stream));
#else
  layernorm_cpu(out.data_ptr(), x.data_ptr(), scale, shift, rows.layout, rows.length, static_cast<float>(eps), dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("layernorm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor");
}

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("layernorm", TORCH_BOX(&layernorm)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("layernorm", TORCH_BOX(&layernorm)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
