// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* rmsnorm_launch(void* out, const void* x, const void* weight, const int64_t* x_rows, int64_t n, float eps,
                           float weight_offset, int dtype, void* stream);
#else
void rmsnorm_cpu(void* out, const void* x, const void* weight, const int64_t* x_rows, int64_t n, float eps, float weight_offset,
                 int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "rmsnorm";

Tensor rmsnorm(Tensor x, std::optional<Tensor> weight, double eps, double weight_offset) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  const tensors::Rows rows = tensors::rows_of(kOp, "x", x);
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
      kOp, rmsnorm_launch(out.data_ptr(), x.data_ptr(), scale, rows.layout, rows.length, static_cast<float>(eps),
                          static_cast<float>(weight_offset), dtype, launch.stream));
#else
  rmsnorm_cpu(out.data_ptr(), x.data_ptr(), scale, rows.layout, rows.length, static_cast<float>(eps),
              static_cast<float>(weight_offset), dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("rmsnorm(Tensor x, Tensor? weight, float eps, float weight_offset) -> Tensor");
}

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("rmsnorm", TORCH_BOX(&rmsnorm)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("rmsnorm", TORCH_BOX(&rmsnorm)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
