// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* softmax_launch(void* out, const void* x, const int64_t* x_rows, int64_t n, int dtype, void* stream);
#else
void softmax_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "softmax";

Tensor softmax(Tensor x) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  const tensors::Rows rows = tensors::rows_of(kOp, "x", x);
  Tensor out = tensors::empty_contiguous_like(x);
  if (rows.count() == 0) return out;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(kOp, softmax_launch(out.data_ptr(), x.data_ptr(), rows.layout, rows.length, dtype, launch.stream));
#else
  softmax_cpu(out.data_ptr(), x.data_ptr(), rows.layout, rows.length, dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) { ops.def("softmax(Tensor x) -> Tensor"); }

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("softmax", TORCH_BOX(&softmax)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("softmax", TORCH_BOX(&softmax)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
