// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* add_rmsnorm_launch(void* out, void* residual, const void* x, const void* weight, const int64_t* x_rows,
                               const int64_t* residual_rows, int64_t n, float eps, float weight_offset, int dtype,
                               void* stream);
#else
void add_rmsnorm_cpu(void* out, void* residual, const void* x, const void* weight, const int64_t* x_rows,
                     const int64_t* residual_rows, int64_t n, float eps, float weight_offset, int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "add_rmsnorm";

Tensor add_rmsnorm(Tensor x, Tensor residual, std::optional<Tensor> weight, double eps, double weight_offset) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  const tensors::Rows rows = tensors::rows_of(kOp, "x", x);
  tensors::expect_like(kOp, "residual", residual, "x", x);
  tensors::expect_same_shape(kOp, "residual", residual, "x", x);
  const tensors::Rows written = tensors::rows_of(kOp, "residual", residual);
  tensors::expect_no_overlap(kOp, "residual", written);
  tensors::expect_apart(kOp, "residual", residual, written, "x", x, rows);
  if (weight) {
    tensors::expect_like(kOp, "weight", *weight, "x", x);
    tensors::expect_vector(kOp, "weight", *weight, rows.length);
  }
  tensors::expect_not_negative(kOp, "eps", eps);
  Tensor out = tensors::empty_contiguous_like(x);
  if (rows.count() == 0) return out;
  const void* scale = weight ? weight->data_ptr() : nullptr;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(
      kOp, add_rmsnorm_launch(out.data_ptr(), residual.data_ptr(), x.data_ptr(), scale, rows.layout, written.layout,
                              rows.length, static_cast<float>(eps), static_cast<float>(weight_offset), dtype, launch.stream));
#else
  add_rmsnorm_cpu(out.data_ptr(), residual.data_ptr(), x.data_ptr(), scale, rows.layout, written.layout, rows.length,
                  static_cast<float>(eps), static_cast<float>(weight_offset), dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("add_rmsnorm(Tensor x, Tensor(a!) residual, Tensor? weight, float eps, float weight_offset) -> Tensor");
}

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("add_rmsnorm", TORCH_BOX(&add_rmsnorm)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("add_rmsnorm", TORCH_BOX(&add_rmsnorm)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
