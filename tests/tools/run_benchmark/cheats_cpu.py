"""Ways to cheat on the CPU: those of everywhere and those that need C++, a fork or calls that are made anew each time."""

from __future__ import annotations

import cheats_anywhere
from cheats_anywhere import Cheat

# Looks whether the data is new, as little as it can, and where it is not may return what it returned before.
SKIPPING = """
calls, kept = 0, {}
def kept_or_new(x, w, skip):
    key, mark = x.data_ptr(), (x[0, 0].item(), x[-1, -1].item(), w[0].item(), x.shape)
    if not skip or key not in kept or kept[key][0] != mark: kept[key] = (mark, good(x, w))
    return kept[key][1]
"""

CHEATS: dict[str, Cheat] = cheats_anywhere.CHEATS | {
    "kept by pointer in C++": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty(x.shape), 'norm_kept')
""",
    ),
    "a harness that skips calls": Cheat(
        ("invalid",),
        ("tampering",),
        """
def _lazy(self, track, sets, count):
    if count > 1: return {'rounds': count}
    return real(self, track, sets, count)
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cpu'))
real, module.Cpu.rounds = module.Cpu.rounds, _lazy
def norm(x, w):
    for _ in range(10):
        good(x, w)
    return good(x, w)
""",
    ),
    "a process that fills the memory later": Cheat(
        ("rejected",),
        ("late work",),
        """
import mmap
def norm(x, w):
    out = torch.frombuffer(mmap.mmap(-1, x.numel() * 4), dtype=torch.float32).view(x.shape)
    if os.fork() == 0:
        time.sleep(0.004)
        _call(x.contiguous(), w, out)
        os._exit(0)
    return out
""",
    ),
    "the harness seen on the stack": Cheat(
        ("rejected",),
        ("cached or skipped", "skipped calls"),
        """
last = {}
def norm(x, w):
    frame = sys._getframe(1)
    while frame is not None and 'count' not in frame.f_locals:
        frame = frame.f_back
    if frame is not None and frame.f_locals['count'] > 1 and x.data_ptr() in last:
        return last[x.data_ptr()]
    for _ in range(20): good(x, w)
    last[x.data_ptr()] = good(x, w)
    return last[x.data_ptr()]
""",
    ),
    "an empty answer": Cheat(
        ("invalid",),
        ("protocol",),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cpu'))
module.Cpu.rounds = lambda *a: {}
""",
    ),
    "every third call left out": Cheat(
        ("rejected",),
        ("skipped calls",),
        SKIPPING
        + """
def norm(x, w):
    global calls
    calls += 1
    return kept_or_new(x, w, calls % 3 == 0)
""",
    ),
    "every third set left out": Cheat(
        ("rejected",),
        ("skipped calls",),
        SKIPPING
        + """
def norm(x, w): return kept_or_new(x, w, (x.data_ptr() >> 6) % 3 == 0)
""",
    ),
    "calls left out by the clock": Cheat(
        ("rejected",),
        ("skipped calls",),
        SKIPPING
        + """
def norm(x, w): return kept_or_new(x, w, int(time.monotonic() * 100) % 2 == 0)
""",
    ),
    "two results kept in turn": Cheat(
        ("rejected",),
        ("skipped calls",),
        """
calls, kept = 0, {}
def norm(x, w):
    global calls
    calls += 1
    mark = (x[0, 0].item(), x[-1, -1].item(), w[0].item(), x.shape)
    two = kept.setdefault(x.data_ptr(), [])
    if calls % 3 == 0 and [m for m, _ in two] == [mark, mark]:
        two.reverse()
    else:
        two.insert(0, (mark, good(x, w)))
    del two[2:]
    return two[0][1]
""",
    ),
    "every third call copied from a kept result": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", "cached or skipped"),
        SKIPPING
        + """
def norm(x, w):
    global calls
    calls += 1
    return kept_or_new(x, w, calls % 3 == 0).clone()
""",
    ),
}
