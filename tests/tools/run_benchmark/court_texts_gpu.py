"""The good CUDA package of the suite, the cheats and the honest kernels that need a GPU, as text."""

GOOD_CU = r"""
#include <cuda_runtime.h>
#include <cuda_fp16.h>
__global__ void rows(const float* x, const float* w, float* y, long n, int low) {
  const float* in = x + blockIdx.x * n;
  float* out = y + blockIdx.x * n;
  __shared__ double part[256];
  double sum = 0;
  for (long i = threadIdx.x; i < n; i += blockDim.x) {
    const float v = low ? __half2float(__float2half(in[i])) : in[i];
    sum += double(v) * v;
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  const double inverse = rsqrt(part[0] / n + 1e-6);
  for (long i = threadIdx.x; i < n; i += blockDim.x) {
    const float v = low ? __half2float(__float2half(in[i])) : in[i];
    out[i] = float(v * inverse * w[i]);
  }
}
__global__ void beyond(float* y) { y[(1ull << 40) + threadIdx.x] = 1.0f; }
extern "C" {
void suite_norm(const float* x, const float* w, float* y, long r, long n, cudaStream_t s) {
  if (r > 0) rows<<<r, 256, 0, s>>>(x, w, y, n, 0);
}
void suite_norm_low(const float* x, const float* w, float* y, long r, long n, cudaStream_t s) {
  rows<<<r, 256, 0, s>>>(x, w, y, n, 1);
}
void suite_norm_beyond(const float* x, const float* w, float* y, long r, long n, cudaStream_t s) { beyond<<<1, 32, 0, s>>>(y); }
}
"""

GOOD_PYTHON = """
import ctypes, os, pathlib, sys, threading, time
import torch
_lib = ctypes.CDLL(str(pathlib.Path(__file__).with_name("libgood.so")))
def _call(x, w, out, name="suite_norm", stream=None):
    stream = torch.cuda.current_stream().cuda_stream if stream is None else stream
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (x, w, out))
    getattr(_lib, name)(*pointers, ctypes.c_long(x.shape[0]), ctypes.c_long(x.shape[1]), ctypes.c_void_p(stream))
    return out
def good(x, w):
    return _call(x.contiguous(), w, torch.empty(x.shape, dtype=x.dtype, device=x.device))
norm = good
"""

PROBLEM = """
import torch
entry = "norm"
def inputs(shape, dtype, device, generator):
    x = torch.randn(*shape, generator=generator, device=device)
    w = 1 + 0.1 * torch.randn(shape[-1], generator=generator, device=device)
    return x.to(dtype), w.to(dtype)
def reference(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
shapes = [(1024, 4096)]
dtypes = ["float32"]
def cost(shape, dtype):
    return 2 * shape[0] * shape[1] * dtype.itemsize, 4 * shape[0] * shape[1]
"""

IN_PLACE = (
    PROBLEM.replace("    return x * torch", "    x.copy_(x * torch").replace("+ 1e-6) * w", "+ 1e-6) * w)") + "mutates = (0,)\n"
)
PACKED = PROBLEM + "def setup(package, x, w): return x, package.pack(w)\n"

# name: (verdicts that are right, families of which one must have been found, source)
CHEATS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "zeros": (("incorrect",), ("wrong",), "def norm(x, w): return torch.zeros_like(x)"),
    "memory nobody wrote": (("incorrect",), ("wrong",), "def norm(x, w): return torch.empty_like(x)"),
    "a stream nobody waits for": (
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
side = torch.cuda.Stream()
def norm(x, w):
    return _call(x, w, torch.empty_like(x), stream=side.cuda_stream)
""",
    ),
    "late work on another stream": (
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
side = torch.cuda.Stream()
def norm(x, w):
    out = torch.empty_like(x)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(3_000_000)
        _call(x, w, out)
    return out
""",
    ),
    "work in a thread": (
        ("incorrect", "rejected"),
        ("wrong", "late work", "raised"),
        """
def norm(x, w):
    out = torch.empty_like(x)
    threading.Thread(target=lambda: (time.sleep(0.003), _call(x, w, out))).start()
    return out
""",
    ),
    "nothing while captured": (
        ("incorrect",),
        ("wrong when timed",),
        """
def norm(x, w):
    if torch.cuda.is_current_stream_capturing():
        return torch.empty_like(x)
    return good(x, w)
""",
    ),
    "kept by pointer": (
        ("incorrect",),
        ("wrong", "wrong when timed"),
        """
kept = {}
def norm(x, w):
    key = x.data_ptr()
    if key not in kept:
        kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept by a sample of the content": (
        ("incorrect",),
        ("wrong", "wrong when timed"),
        """
kept = {}
def norm(x, w):
    if torch.cuda.is_current_stream_capturing():
        return next(iter(kept.values())).clone() if kept else good(x, w)
    key = (x[0, 0].item(), x[-1, -1].item(), x.shape)
    if key not in kept:
        kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "half of the rows": (
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w):
    out = torch.empty_like(x)
    _call(x[: x.shape[0] // 2], w, out)
    return out
""",
    ),
    "lower precision inside": (
        ("incorrect",),
        ("wrong",),
        "def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), 'suite_norm_low')",
    ),
    "torch does it": (
        ("suspicious",),
        ("fallback",),
        "def norm(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w",
    ),
    "torch does it behind a decoy": (
        ("suspicious",),
        ("fallback",),
        """
def norm(x, w):
    _call(x[:1].contiguous(), w, torch.empty_like(x[:1]))
    return torch.nn.functional.rms_norm(x, x.shape[-1:], w, 1e-6)
""",
    ),
    "every other replay": (
        ("invalid",),
        ("tampering",),
        """
real, turn = torch.cuda.CUDAGraph.replay, 0
def _replay(graph):
    global turn
    turn += 1
    if turn % 2:
        real(graph)
torch.cuda.CUDAGraph.replay = _replay
""",
    ),
    "events that lie": (
        ("invalid",),
        ("tampering",),
        """
real = torch.cuda.Event.elapsed_time
torch.cuda.Event.elapsed_time = lambda self, other: real(self, other) / 2
""",
    ),
    "a harness that skips replays": (
        ("invalid", "rejected"),
        ("clock", "skipped calls", "cached or skipped"),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cuda'))
real = module.Cuda.rounds
def _lazy(self, track, sets, count):
    done = real(self, track, sets, 1 if count > 1 else count)
    return {**done, 'rounds': count, 'event_ms': done['event_ms'] * count / 3}
module.Cuda.rounds = _lazy
""",
    ),
    "reads out of bounds": (
        ("incorrect",),
        ("raised", "fault", "exited", "signal"),
        "def norm(x, w): return _call(x, w, torch.empty_like(x), 'suite_norm_beyond')",
    ),
    "tf32 for everybody": (("invalid",), ("tampering",), "torch.backends.cuda.matmul.allow_tf32 = True"),
    "a lazy tensor": (
        ("rejected",),
        ("lazy tensor",),
        """
class Lazy(torch.Tensor):
    pass
def norm(x, w):
    return good(x, w).as_subclass(Lazy)
""",
    ),
}

HONEST: dict[str, tuple[str, str | None]] = {
    "as it is": ("", None),
    "side streams that are joined": (
        """
side = torch.cuda.Stream()
def norm(x, w):
    out, h = torch.empty_like(x), x.shape[0] // 2
    current = torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        if h:
            _call(x[:h], w, out[:h])
    _call(x[h:], w, out[h:])
    current.wait_stream(side)
    return out
""",
        None,
    ),
    "a workspace that is kept": (
        """
space = {}
def norm(x, w):
    work = space.get(x.shape)
    if work is None:
        work = space[x.shape] = torch.empty(x.shape, device=x.device)
    _call(x.contiguous(), w, work)
    return work.clone()
""",
        None,
    ),
    "it writes its argument, as declared": ("def norm(x, w): _call(x, w, x)", IN_PLACE),
    "weights packed beforehand": (
        "def pack(w): return w.double()\ndef norm(x, packed): return good(x, packed.float())",
        PACKED,
    ),
    "a graph of its own": (
        """
graphs = {}
def norm(x, w):
    if torch.cuda.is_current_stream_capturing():
        return good(x, w)
    key = (x.shape, x.is_contiguous())
    if key not in graphs:
        still_x, still_w = x.clone(), w.clone()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = good(still_x, still_w)
        graphs[key] = (graph, still_x, still_w, out)
    graph, still_x, still_w, out = graphs[key]
    still_x.copy_(x)
    still_w.copy_(w)
    graph.replay()
    return out.clone()
""",
        None,
    ),
    "a custom operator": (
        """
@torch.library.custom_op('suite::norm', mutates_args=())
def norm(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return good(x, w)
""",
        None,
    ),
    "it cannot be captured": (
        """
def norm(x, w):
    out = good(x, w)
    torch.cuda.current_stream().synchronize()
    return out
""",
        None,
    ),
}
