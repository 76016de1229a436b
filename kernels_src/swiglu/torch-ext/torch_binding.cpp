// The op's schema and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* swiglu_launch(void* out, const void* gate, const void* up, const int64_t* gate_rows, const int64_t* up_rows,
                          int64_t n, int dtype, void* stream);
#else
void swiglu_cpu(void* out, const void* gate, const void* up, const int64_t* gate_rows, const int64_t* up_rows, int64_t n,
                int dtype);
#endif

namespace {

using tensors::Tensor;
constexpr const char* kOp = "swiglu";

Tensor swiglu(Tensor gate, Tensor up) {
  tensors::expect_on_backend(kOp, "gate", gate);
  const int dtype = tensors::dtype_code(kOp, "gate", gate);
  tensors::expect_like(kOp, "up", up, "gate", gate);
  tensors::expect_same_shape(kOp, "up", up, "gate", gate);
  const tensors::Rows gates = tensors::rows_of(kOp, "gate", gate), ups = tensors::rows_of(kOp, "up", up);
  Tensor out = tensors::empty_contiguous_like(gate);
  if (gates.count() == 0) return out;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(gate);
  tensors::expect_launched(kOp, swiglu_launch(out.data_ptr(), gate.data_ptr(), up.data_ptr(), gates.layout, ups.layout,
                                              gates.length, dtype, launch.stream));
#else
  swiglu_cpu(out.data_ptr(), gate.data_ptr(), up.data_ptr(), gates.layout, ups.layout, gates.length, dtype);
#endif
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) { ops.def("swiglu(Tensor gate, Tensor up) -> Tensor"); }

// Both keys lead to the same function, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) { ops.impl("swiglu", TORCH_BOX(&swiglu)); }
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) { ops.impl("swiglu", TORCH_BOX(&swiglu)); }

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
