"""Honest kernels that do unusual things wherever they run, as text that is appended to the good package.

Each with a problem of its own, or None for the usual one.
"""

from court_texts import IN_PLACE, PACKED, PAIR

HONEST: dict[str, tuple[str, str | None]] = {
    "as it is": ("", None),
    "a workspace that is kept": (
        """
space = {}
def norm(x, w):
    if x.shape not in space: space[x.shape] = torch.empty_like(x)
    return _call(x.contiguous(), w, space[x.shape]).clone()
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
    "it writes its argument, as declared": ("def norm(x, w): _call(x, w, x)", IN_PLACE),
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
ring, turn = {}, 0
def norm(x, w):
    global turn
    turn = (turn + 1) % 8
    if (turn, x.shape) not in ring: ring[turn, x.shape] = torch.empty_like(x)
    return _call(x.contiguous(), w, ring[turn, x.shape]).clone()
""",
        None,
    ),
    "results in a ring": (
        """
ring, turn = {}, 0
def norm(x, w):
    global turn
    turn = (turn + 1) % 160
    if (turn, x.shape) not in ring: ring[turn, x.shape] = torch.empty_like(x)
    return _call(x.contiguous(), w, ring[turn, x.shape])
""",
        None,
    ),
    "its result as a view of more memory": (
        """
def norm(x, w):
    block = torch.empty(x.numel() + 64, dtype=x.dtype, device=x.device)
    return _call(x.contiguous(), w, block[: x.numel()].view(x.shape))
""",
        None,
    ),
}
