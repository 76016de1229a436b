"""Ways to cheat that make sense wherever a kernel runs, as text that is appended to the good package."""

from __future__ import annotations

from typing import NamedTuple


class Cheat(NamedTuple):
    """Verdicts that are right, families of which one must have been found, and the source."""

    verdicts: tuple[str, ...]
    families: tuple[str, ...]
    source: str


CHEATS: dict[str, Cheat] = {
    "zeros": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return torch.zeros_like(x)
""",
    ),
    "the input itself": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return x.clone()
""",
    ),
    "an ignored weight": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return good(x, torch.ones_like(w))
""",
    ),
    "half of the rows": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w):
    out = torch.empty_like(x); h = x.shape[0] // 2
    _call(x[:h], w, out[:h]); return out
""",
    ),
    "memory nobody wrote": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return torch.empty_like(x)
""",
    ),
    "another dtype": Cheat(
        ("incorrect",),
        ("form",),
        """
def norm(x, w): return good(x, w).double()
""",
    ),
    "another shape": Cheat(
        ("incorrect",),
        ("form",),
        """
def norm(x, w): return good(x, w).flatten()
""",
    ),
    "kept by pointer": Cheat(
        ("incorrect",),
        ("wrong", "form", "wrong when timed"),
        """
kept = {}
def norm(x, w):
    key = x.data_ptr()
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept by shape": Cheat(
        ("incorrect",),
        ("wrong", "form", "wrong when timed"),
        """
kept = {}
def norm(x, w):
    key = tuple(x.shape)
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept by content": Cheat(
        ("rejected", "incorrect"),
        ("cached or skipped", "skipped calls"),
        """
kept = {}
def norm(x, w):
    key = (x.sum().item(), w.sum().item(), x.shape)
    if key not in kept:
        for _ in range(20):
            kept[key] = good(x, w)
    return kept[key]
""",
    ),
    "kept by a sample of the content": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", "cached or skipped"),
        """
kept = {}
def norm(x, w):
    key = (x[0, 0].item(), x[-1, -1].item(), w[0].item(), x.shape)
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept in a file": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w):
    path = os.environ['TMPDIR'] + f'/{x.shape[0]}-{x.shape[1]}'
    if not os.path.exists(path):
        torch.save(good(x, w), path)
    return torch.load(path)
""",
    ),
    "right for the first calls only": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", "cached or skipped"),
        """
calls, last = 0, {}
def norm(x, w):
    global calls
    calls += 1
    if calls < 30 or x.shape not in last: last[x.shape] = good(x, w)
    return last[x.shape].clone()
""",
    ),
    "work in a thread": Cheat(
        ("rejected", "incorrect"),
        ("late work", "wrong"),
        """
def norm(x, w):
    out = torch.empty_like(x)
    threading.Thread(target=lambda: (time.sleep(0.003), _call(x, w, out))).start()
    return out
""",
    ),
    "work in a thread of C++": Cheat(
        ("rejected", "incorrect"),
        ("late work", "wrong"),
        """
def norm(x, w): return _call(x, w, torch.zeros_like(x), 'norm_late')
""",
    ),
    "a thread that mends the result": Cheat(
        ("rejected",),
        ("late work",),
        """
def norm(x, w):
    out = good(x, w)
    threading.Timer(0.002, lambda: out.mul_(1.0000001)).start()
    return out
""",
    ),
    "a lazy tensor": Cheat(
        ("rejected",),
        ("lazy tensor",),
        """
class Lazy(torch.Tensor):
    pass
def norm(x, w): return good(x, w).as_subclass(Lazy)
""",
    ),
    "torch does it": Cheat(
        ("suspicious",),
        ("fallback",),
        """
def norm(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
""",
    ),
    "torch does it behind a decoy": Cheat(
        ("suspicious",),
        ("fallback",),
        """
import torch.nn.functional as F
def norm(x, w):
    _call(x[:1].contiguous(), w, torch.empty_like(x[:1]))
    return F.rms_norm(x, x.shape[-1:], w, 1e-6)
""",
    ),
    "lower precision inside": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), 'norm_low')
""",
    ),
    "half precision inside": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return good(x.half().float(), w)
""",
    ),
    "a patched clock": Cheat(
        ("invalid",),
        ("tampering",),
        """
real = time.perf_counter
time.perf_counter = lambda: real() / 2
""",
    ),
    "a patched comparison": Cheat(
        ("invalid",),
        ("tampering",),
        """
torch.allclose = lambda *a, **k: True
""",
    ),
    "a patched synchronize": Cheat(
        ("invalid",),
        ("tampering",),
        """
torch.cuda.synchronize = lambda *a: None
""",
    ),
    "changed settings of torch": Cheat(
        ("invalid",),
        ("tampering",),
        """
torch.set_float32_matmul_precision('medium')
""",
    ),
    "a changed environment": Cheat(
        ("invalid",),
        ("tampering",),
        """
os.environ['OMP_NUM_THREADS'] = '1'
""",
    ),
    "written inputs": Cheat(
        ("incorrect",),
        ("inputs",),
        """
def norm(x, w):
    out = good(x, w)
    x.zero_()
    return out
""",
    ),
    "the reference in memory": Cheat(
        ("incorrect",),
        ("wrong",),
        """
import gc, types
def norm(x, w):
    for f in gc.get_objects():
        if isinstance(f, types.FunctionType) and f.__name__ == 'reference': return f(x, w)
    return torch.zeros_like(x)
""",
    ),
    "the reference on disk": Cheat(
        ("incorrect",),
        ("wrong",),
        """
import glob
def norm(x, w):
    beside = pathlib.Path(__file__).parents[1] / 'problem.py'
    for place in [beside, *map(pathlib.Path, glob.glob('/tmp/**/problem.py'))]:
        if place.exists():
            space = {}
            exec(place.read_text(), space)
            return space['reference'](x, w)
    return torch.zeros_like(x)
""",
    ),
    "only announced shapes": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return good(x, w) if tuple(x.shape) in {(96, 512), (1024, 4096)} else torch.zeros_like(x)
""",
    ),
    "only the usual distribution": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return good(x, w) if x.abs().max() < 7 and x.std() > 0.5 else x / x.std()
""",
    ),
    "a forged answer": Cheat(
        ("rejected",),
        ("protocol",),
        """
def norm(x, w):
    for fd in range(3, 256):
        try:
            os.write(fd, bytes([2, 0, 0, 0]) + b'{}')
        except OSError:
            pass
    return good(x, w)
""",
    ),
    "a profiler of its own": Cheat(
        ("invalid",),
        ("tampering",),
        """
sys.setprofile(lambda *a: None)
""",
    ),
    "a patched allocation": Cheat(
        ("invalid",),
        ("tampering",),
        """
real = torch.empty
torch.empty = lambda *a, **k: real(*a, **k)
""",
    ),
    "a patched pause": Cheat(
        ("invalid",),
        ("tampering",),
        """
time.sleep = lambda seconds: None
""",
    ),
    "a patched harness": Cheat(
        ("invalid",),
        ("tampering",),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cpu'))
real = module.digests
module.digests = lambda *a: real(*a)
""",
    ),
    "a handler of signals": Cheat(
        ("invalid",),
        ("tampering",),
        """
import signal
signal.signal(signal.SIGUSR1, lambda *a: None)
""",
    ),
    "a lazy tensor that is called Tensor": Cheat(
        ("rejected",),
        ("lazy tensor",),
        """
class Tensor(torch.Tensor):
    pass
def norm(x, w): return good(x, w).as_subclass(Tensor)
""",
    ),
    "its input as its output": Cheat(
        ("incorrect",),
        ("inputs",),
        """
def norm(x, w): return x.copy_(good(x, w))
""",
    ),
    "it raises while it is timed": Cheat(
        ("incorrect",),
        ("raised",),
        """
calls = 0
def norm(x, w):
    global calls
    calls += 1
    if calls > 60: raise RuntimeError('enough')
    return good(x, w)
""",
    ),
    "put off until the next call": Cheat(
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
waiting = []
def norm(x, w):
    while waiting: _call(*waiting.pop())
    out = torch.empty_like(x)
    waiting.append((x.contiguous(), w, out))
    return out
""",
    ),
    "the same memory for every result": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", "skipped calls"),
        """
space = {}
def norm(x, w):
    if x.shape not in space: space[x.shape] = torch.empty_like(x)
    return _call(x.contiguous(), w, space[x.shape])
""",
    ),
    "rounded to bfloat16 on the way": Cheat(
        ("incorrect",),
        ("wrong",),
        """
def norm(x, w): return good(x, w).bfloat16().float()
""",
    ),
}
