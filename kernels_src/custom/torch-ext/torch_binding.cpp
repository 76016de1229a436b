// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* custom_launch(void* out, const void* x, int64_t n, int dtype, void* stream);
#else
void custom_cpu(void* out, const void* x, int64_t n, int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "custom";

void expect_contiguous(const char* name, const Tensor& t) {
  if (!tensors::rows_of(kOp, name, t).dense()) {
    tensors::fail(kOp, std::string(name) + " must be contiguous: call .contiguous()");
  }
}

Tensor custom(Tensor x) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  expect_contiguous("x", x);
  Tensor out = tensors::empty_contiguous_like(x);
  const int64_t n = x.numel();
  if (n == 0) return out;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(kOp, custom_launch(out.data_ptr(), x.data_ptr(), n, dtype, launch.stream));
#else
  custom_cpu(out.data_ptr(), x.data_ptr(), n, dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) { ops.def("custom(Tensor x) -> Tensor"); }

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("custom", TORCH_BOX(&custom)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("custom", TORCH_BOX(&custom)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
