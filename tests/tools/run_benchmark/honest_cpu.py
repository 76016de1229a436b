"""Honest kernels on the CPU that do unusual things: those of everywhere and those that need threads."""

import honest_anywhere

HONEST: dict[str, tuple[str, str | None]] = honest_anywhere.HONEST | {
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
}
