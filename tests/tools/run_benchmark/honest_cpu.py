"""Honest kernels that do unusual things, as text that is appended to the good package, with a problem of their own or None."""

IN_PLACE = """
import torch
entry = "norm"
def inputs(shape, dtype, device, generator):
    return torch.randn(*shape, generator=generator, device=device), torch.rand(shape[-1], generator=generator, device=device)
def reference(x, w):
    x.copy_(x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w)
mutates = (0,)
shapes = [(96, 512)]
dtypes = ["float32"]
"""

PACKED = """
import torch
entry = "norm"
def inputs(shape, dtype, device, generator):
    return torch.randn(*shape, generator=generator, device=device), torch.rand(shape[-1], generator=generator, device=device)
def reference(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
def setup(package, x, w):
    return x, package.pack(w)
shapes = [(96, 512)]
dtypes = ["float32"]
"""

PAIR = """
import torch
entry = "norm"
def inputs(shape, dtype, device, generator):
    return torch.randn(*shape, generator=generator, device=device), torch.rand(shape[-1], generator=generator, device=device)
def reference(x, w):
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
    return y, y.argmax(-1)
shapes = [(96, 512)]
dtypes = ["float32"]
"""

HONEST: dict[str, tuple[str, str | None]] = {
    "as it is": (
        """
""",
        None,
    ),
    "a workspace that is kept": (
        """
space = {}
def norm(x, w):
    work = space.setdefault(x.shape, torch.empty(x.shape))
    _call(x.contiguous(), w, work)
    return work.clone()
""",
        None,
    ),
    "plans kept by shape": (
        """
plans = {}
def norm(x, w):
    plan = plans.setdefault((x.shape, x.dtype), {'rows': x.shape[0]})
    assert plan['rows'] == x.shape[0]
    return good(x, w)
""",
        None,
    ),
    "threads that are joined": (
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty(x.shape), 'norm_joined')
""",
        None,
    ),
    "a pool of threads": (
        """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def norm(x, w): return pool.submit(good, x, w).result()
""",
        None,
    ),
    "try and finally": (
        """
def norm(x, w):
    try: return good(x, w)
    finally: threading.current_thread()
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
    "it writes its argument, as declared": (
        """
def norm(x, w): _call(x, w, x)
""",
        IN_PLACE,
    ),
    "weights packed beforehand": (
        """
def pack(w): return w.double()
def norm(x, packed): return good(x, packed.float())
""",
        PACKED,
    ),
    "several outputs": (
        """
def norm(x, w):
    y = good(x, w)
    return y, y.argmax(-1)
""",
        PAIR,
    ),
    "it refuses gaps": (
        """
def norm(x, w):
    if not x.is_contiguous(): raise ValueError('x must be contiguous')
    return good(x, w)
""",
        None,
    ),
    "it refuses odd widths": (
        """
def norm(x, w):
    if x.shape[1] % 8: raise ValueError('the width must be a multiple of 8')
    return good(x, w)
""",
        None,
    ),
    "an allocator of its own": (
        """
ring, turn = [torch.empty(400 * 512) for _ in range(64)], 0
def norm(x, w):
    global turn
    turn = (turn + 1) % 64
    block = ring[turn]
    if x.numel() > block.numel(): return good(x, w)
    return _call(x.contiguous(), w, block[: x.numel()].view(x.shape)).clone()
""",
        None,
    ),
}
