"""The good package of the suite and its problem, as text; what only a GPU has is in `court_texts_gpu.py`."""

_PROBLEM = """
import torch
entry = "norm"
def inputs(shape, dtype, device, generator):
    x = torch.randn(*shape, generator=generator, device=device)
    w = 1 + 0.1 * torch.randn(shape[-1], generator=generator, device=device)
    return x.to(dtype), w.to(dtype)
def reference(x, w):
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
    {answer}
shapes = [(96, 512)]
cuda_shapes = [(1024, 4096)]
dtypes = ["float32"]
def cost(shape, dtype):
    return 2 * shape[0] * shape[1] * dtype.itemsize, 4 * shape[0] * shape[1]
"""
PROBLEM = _PROBLEM.format(answer="return y")
# The same one, where the kernel writes its argument, where weights may be packed beforehand, where there are two results.
IN_PLACE = _PROBLEM.format(answer="x.copy_(y)") + "mutates = (0,)\n"
PACKED = PROBLEM + "def setup(package, x, w): return x, package.pack(w)\n"
# Finding the largest number is left to torch, which must not count against the kernel.
PAIR = _PROBLEM.format(answer="return y, y.argmax(-1)") + "fallback = 'report'\n"

GOOD_CPP = r"""
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <thread>
#include <unistd.h>
template <typename T> static void rows(const float* x, const float* w, float* y, long from, long to, long n) {
  for (long r = from; r < to; ++r) {
    T sum = 0;
    for (long i = 0; i < n; ++i) sum += T(x[r * n + i]) * T(x[r * n + i]);
    const T inverse = T(1) / std::sqrt(sum / T(n) + T(1e-6));
    for (long i = 0; i < n; ++i) y[r * n + i] = float(T(x[r * n + i]) * inverse * T(w[i]));
  }
}
static float cut(float value) {  // to the precision of bfloat16
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = (bits + 0x8000u) & 0xffff0000u;
  std::memcpy(&value, &bits, 4);
  return value;
}
static std::map<std::pair<const float*, long>, float*> kept;
extern "C" {
void norm(const float* x, const float* w, float* y, long r, long n) { rows<double>(x, w, y, 0, r, n); }
void norm_joined(const float* x, const float* w, float* y, long r, long n) {
  std::thread half([=] { rows<double>(x, w, y, 0, r / 2, n); });
  rows<double>(x, w, y, r / 2, r, n);
  half.join();
}
void norm_late(const float* x, const float* w, float* y, long r, long n) {
  std::thread([=] { usleep(3000); rows<double>(x, w, y, 0, r, n); }).detach();
}
void norm_low(const float* x, const float* w, float* y, long r, long n) {
  for (long i = 0; i < r * n; ++i) y[i] = cut(x[i]);
  rows<double>(y, w, y, 0, r, n);
}
void norm_kept(const float* x, const float* w, float* y, long r, long n) {
  float*& known = kept[{x, r * n}];
  if (!known) { known = new float[r * n]; rows<double>(x, w, known, 0, r, n); }
  std::memcpy(y, known, sizeof(float) * r * n);
}
}
"""

GOOD_PYTHON = """
import ctypes, os, pathlib, sys, threading, time
import torch
_lib = ctypes.CDLL(str(pathlib.Path(__file__).with_name("libgood.so")))
def _call(x, w, out, name="norm"):
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (x, w, out))
    getattr(_lib, name)(*pointers, ctypes.c_long(x.shape[0]), ctypes.c_long(x.shape[1]))
    return out
def good(x, w):
    return _call(x.contiguous(), w, torch.empty(x.shape, dtype=x.dtype))
norm = good
"""
