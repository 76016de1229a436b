// The ops' schemas and dispatch, in torch's stable ABI: arguments are checked here, the kernels get raw pointers and sizes.
#include "registration.h"
#include "tensors.h"

#if defined(CUDA_KERNEL)
const char* adaln_launch(void* out, void* x, const void* update, const void* gate, const void* scale, const void* shift,
                         const int64_t* x_rows, const int64_t* update_rows, const int64_t* gate_rows, const int64_t* scale_rows,
                         const int64_t* shift_rows, int64_t n, int64_t per_sample, float eps, bool rms, int dtype,
                         void* stream);
#else
void adaln_cpu(void* out, void* x, const void* update, const void* gate, const void* scale, const void* shift,
               const int64_t* x_rows, const int64_t* update_rows, const int64_t* gate_rows, const int64_t* scale_rows,
               const int64_t* shift_rows, int64_t n, int64_t per_sample, float eps, bool rms, int dtype);
#endif

namespace {

using tensors::Rows;
using tensors::Tensor;

// The rows of a modulation of `x`: one a sample, one in all, or one a row of x.
Rows modulation(const char* op, const char* name, const Tensor& t, const Tensor& x, const Rows& x_rows) {
  tensors::expect_like(op, name, t, "x", x);
  const Rows rows = tensors::rows_of(op, name, t);
  const int64_t count = rows.length > 0 ? t.numel() / rows.length : 0;
  const bool per_sample = t.dim() >= 2 && t.size(0) == x.size(0) && count == x.size(0) && x.dim() >= 2;
  bool like_x = t.dim() == x.dim();
  for (int64_t d = 0; like_x && d < t.dim(); ++d) like_x = t.size(d) == x.size(d);
  const bool fits = count == 1 || per_sample || like_x;
  if (rows.length != x_rows.length || (!fits && x_rows.count() > 0)) {
    const std::string n = std::to_string(x_rows.length), batch = std::to_string(x.size(0));
    tensors::fail(op, std::string(name) + " must have shape (" + batch + ", " + n + "), (" + batch + ", 1, " + n + "), (" + n +
                          ",) or that of x, but has shape " + tensors::shape_of(t));
  }
  return rows;
}

Tensor run(const char* op, Tensor x, std::optional<Tensor> update, std::optional<Tensor> gate, Tensor scale, Tensor shift,
           double eps, bool rms) {
  tensors::expect_on_backend(op, "x", x);
  const int dtype = tensors::dtype_code(op, "x", x);
  const Rows x_rows = tensors::rows_of(op, "x", x);
  const Rows scale_rows = modulation(op, "scale", scale, x, x_rows), shift_rows = modulation(op, "shift", shift, x, x_rows);
  Rows update_rows = x_rows, gate_rows = scale_rows;
  if (update) {
    tensors::expect_like(op, "update", *update, "x", x);
    tensors::expect_same_shape(op, "update", *update, "x", x);
    update_rows = tensors::rows_of(op, "update", *update);
    gate_rows = modulation(op, "gate", *gate, x, x_rows);
    tensors::expect_no_overlap(op, "x", x_rows);
    tensors::expect_apart(op, "x", x, x_rows, "update", *update, update_rows);
  }
  if (shift_rows.count() != scale_rows.count() || gate_rows.count() != scale_rows.count()) {
    tensors::fail(op, "scale, shift and gate must have as many rows as each other");
  }
  tensors::expect_not_negative(op, "eps", eps);
  Tensor out = tensors::empty_contiguous_like(x);
  if (x_rows.count() == 0) return out;
  const int64_t per_sample = x_rows.count() / scale_rows.count();
  const void* update_data = update ? update->data_ptr() : nullptr;
  const void* gate_data = gate ? gate->data_ptr() : nullptr;
#if defined(CUDA_KERNEL)
  const tensors::Launch launch(x);
  tensors::expect_launched(
      op, adaln_launch(out.data_ptr(), x.data_ptr(), update_data, gate_data, scale.data_ptr(), shift.data_ptr(), x_rows.layout,
                       update_rows.layout, gate_rows.layout, scale_rows.layout, shift_rows.layout, x_rows.length, per_sample,
                       static_cast<float>(eps), rms, dtype, launch.stream));
#else
  adaln_cpu(out.data_ptr(), x.data_ptr(), update_data, gate_data, scale.data_ptr(), shift.data_ptr(), x_rows.layout,
            update_rows.layout, gate_rows.layout, scale_rows.layout, shift_rows.layout, x_rows.length, per_sample,
            static_cast<float>(eps), rms, dtype);
#endif
  return out;
}

Tensor adaln(Tensor x, Tensor scale, Tensor shift, double eps, bool rms) {
  return run("adaln", x, std::nullopt, std::nullopt, scale, shift, eps, rms);
}

Tensor gated_adaln(Tensor x, Tensor update, Tensor gate, Tensor scale, Tensor shift, double eps, bool rms) {
  return run("gated_adaln", x, update, gate, scale, shift, eps, rms);
}

}  // namespace

STABLE_TORCH_LIBRARY_EXPAND(TORCH_EXTENSION_NAME, ops) {
  ops.def("adaln(Tensor x, Tensor scale, Tensor shift, float eps, bool rms) -> Tensor");
  ops.def("gated_adaln(Tensor(a!) x, Tensor update, Tensor gate, Tensor scale, Tensor shift, float eps, bool rms) -> Tensor");
}

// Both keys lead to the same functions, so that a tensor of the wrong device is refused by name.
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CPU, ops) {
  ops.impl("adaln", TORCH_BOX(&adaln));
  ops.impl("gated_adaln", TORCH_BOX(&gated_adaln));
}
STABLE_TORCH_LIBRARY_IMPL_EXPAND(TORCH_EXTENSION_NAME, CUDA, ops) {
  ops.impl("adaln", TORCH_BOX(&adaln));
  ops.impl("gated_adaln", TORCH_BOX(&gated_adaln));
}

REGISTER_EXTENSION(TORCH_EXTENSION_NAME)
