// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* geglu_launch(void* out, const void* x, const int64_t* x_rows, int64_t n, bool tanh, bool gate_first, int dtype,
                         void* stream);
#else
void geglu_cpu(void* out, const void* x, const int64_t* x_rows, int64_t n, bool tanh, bool gate_first, int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "geglu";

Tensor geglu(Tensor x, bool tanh, bool gate_first) {
  tensors::expect_on_backend(kOp, "x", x);
  const int dtype = tensors::dtype_code(kOp, "x", x);
  const tensors::Rows rows = tensors::rows_of(kOp, "x", x);
  if (rows.length % 2 != 0) {
    tensors::fail(kOp, "x must have an even last dimension, value and gate, but has shape " + tensors::shape_of(x));
  }
  const int64_t n = rows.length / 2;
  Tensor out = tensors::empty_contiguous(x, n);
  if (rows.count() == 0) return out;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(kOp,
                           geglu_launch(out.data_ptr(), x.data_ptr(), rows.layout, n, tanh, gate_first, dtype, launch.stream));
#else
  geglu_cpu(out.data_ptr(), x.data_ptr(), rows.layout, n, tanh, gate_first, dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) { ops.def("geglu(Tensor x, bool tanh, bool gate_first) -> Tensor"); }

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("geglu", TORCH_BOX(&geglu)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("geglu", TORCH_BOX(&geglu)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
