"""Ways to cheat on the CPU, as text that is appended to the good package: (verdict, family of the finding, source)."""

CHEATS: dict[str, tuple[str, str, str]] = {
    "zeros": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return torch.zeros_like(x)
""",
    ),
    "the input itself": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return x.clone()
""",
    ),
    "an ignored weight": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return good(x, torch.ones_like(w))
""",
    ),
    "half of the rows": (
        "incorrect",
        "wrong",
        """
def norm(x, w):
    out = torch.empty_like(x); h = x.shape[0] // 2
    _call(x[:h], w, out[:h]); return out
""",
    ),
    "memory nobody wrote": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return torch.empty_like(x)
""",
    ),
    "another dtype": (
        "incorrect",
        "form",
        """
def norm(x, w): return good(x, w).double()
""",
    ),
    "another shape": (
        "incorrect",
        "form",
        """
def norm(x, w): return good(x, w).flatten()
""",
    ),
    "kept by pointer": (
        "incorrect",
        "wrong",
        """
kept = {}
def norm(x, w):
    key = x.data_ptr()
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept by pointer in C++": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty(x.shape), 'norm_kept')
""",
    ),
    "kept by shape": (
        "incorrect",
        "wrong",
        """
kept = {}
def norm(x, w):
    key = tuple(x.shape)
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept by content": (
        "rejected",
        "cached or skipped",
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
    "kept by a sample of the content": (
        "incorrect",
        "wrong when timed",
        """
kept = {}
def norm(x, w):
    key = (x[0, 0].item(), x[-1, -1].item(), w[0].item(), x.shape)
    if key not in kept: kept[key] = good(x, w)
    return kept[key].clone()
""",
    ),
    "kept in a file": (
        "incorrect",
        "wrong",
        """
def norm(x, w):
    path = os.environ['TMPDIR'] + f'/{x.shape[0]}-{x.shape[1]}'
    if not os.path.exists(path):
        torch.save(good(x, w), path)
    return torch.load(path)
""",
    ),
    "right for the first calls only": (
        "incorrect",
        "wrong when timed",
        """
calls, last = 0, {}
def norm(x, w):
    global calls
    calls += 1
    if calls < 60 or x.shape not in last: last[x.shape] = good(x, w)
    return last[x.shape].clone()
""",
    ),
    "work in a thread": (
        "rejected",
        "late work",
        """
def norm(x, w):
    out = torch.empty_like(x)
    threading.Thread(target=lambda: (time.sleep(0.003), _call(x, w, out))).start()
    return out
""",
    ),
    "work in a thread of C++": (
        "rejected",
        "late work",
        """
def norm(x, w): return _call(x, w, torch.zeros_like(x), 'norm_late')
""",
    ),
    "a thread that mends the result": (
        "rejected",
        "late work",
        """
def norm(x, w):
    out = good(x, w)
    threading.Timer(0.002, lambda: out.mul_(1.0000001)).start()
    return out
""",
    ),
    "a lazy tensor": (
        "rejected",
        "lazy tensor",
        """
class Lazy(torch.Tensor):
    pass
def norm(x, w): return good(x, w).as_subclass(Lazy)
""",
    ),
    "torch does it": (
        "suspicious",
        "fallback",
        """
def norm(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
""",
    ),
    "torch does it behind a decoy": (
        "suspicious",
        "fallback",
        """
import torch.nn.functional as F
def norm(x, w):
    _call(x[:1].contiguous(), w, torch.empty(1, x.shape[1]))
    return F.rms_norm(x, x.shape[-1:], w, 1e-6)
""",
    ),
    "lower precision inside": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty(x.shape), 'norm_low')
""",
    ),
    "half precision inside": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return good(x.half().float(), w)
""",
    ),
    "a patched clock": (
        "invalid",
        "tampering",
        """
real = time.perf_counter
time.perf_counter = lambda: real() / 2
""",
    ),
    "a patched comparison": (
        "invalid",
        "tampering",
        """
torch.allclose = lambda *a, **k: True
""",
    ),
    "a patched synchronize": (
        "invalid",
        "tampering",
        """
torch.cuda.synchronize = lambda *a: None
""",
    ),
    "changed settings of torch": (
        "invalid",
        "tampering",
        """
torch.set_float32_matmul_precision('medium')
""",
    ),
    "a changed environment": (
        "invalid",
        "tampering",
        """
os.environ['OMP_NUM_THREADS'] = '1'
""",
    ),
    "written inputs": (
        "incorrect",
        "inputs",
        """
def norm(x, w):
    out = good(x, w)
    x.zero_()
    return out
""",
    ),
    "the reference in memory": (
        "incorrect",
        "wrong",
        """
import gc, types
def norm(x, w):
    for f in gc.get_objects():
        if isinstance(f, types.FunctionType) and f.__name__ == 'reference': return f(x, w)
    return torch.zeros_like(x)
""",
    ),
    "the reference on disk": (
        "incorrect",
        "wrong",
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
    "only announced shapes": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return good(x, w) if tuple(x.shape) in {(96, 512), (160, 512)} else torch.zeros_like(x)
""",
    ),
    "only the usual distribution": (
        "incorrect",
        "wrong",
        """
def norm(x, w): return good(x, w) if x.abs().max() < 7 and x.std() > 0.5 else x / x.std()
""",
    ),
    "a forged answer": (
        "rejected",
        "protocol",
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
    "a harness that skips calls": (
        "invalid",
        "cached or skipped",
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
    "a profiler of its own": (
        "invalid",
        "tampering",
        """
sys.setprofile(lambda *a: None)
""",
    ),
    "a patched allocation": (
        "invalid",
        "tampering",
        """
real = torch.empty
torch.empty = lambda *a, **k: real(*a, **k)
""",
    ),
    "a patched pause": (
        "invalid",
        "tampering",
        """
time.sleep = lambda seconds: None
""",
    ),
    "a patched harness": (
        "invalid",
        "tampering",
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cpu'))
real = module.digests
module.digests = lambda *a: real(*a)
""",
    ),
    "a handler of signals": (
        "invalid",
        "tampering",
        """
import signal
signal.signal(signal.SIGUSR1, lambda *a: None)
""",
    ),
    "a lazy tensor that is called Tensor": (
        "rejected",
        "lazy tensor",
        """
class Tensor(torch.Tensor):
    pass
def norm(x, w): return good(x, w).as_subclass(Tensor)
""",
    ),
    "its input as its output": (
        "incorrect",
        "inputs",
        """
def norm(x, w): return x.copy_(good(x, w))
""",
    ),
    "a process that fills the memory later": (
        "rejected",
        "late work",
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
    "the harness seen on the stack": (
        "rejected",
        "cached or skipped",
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
    "it raises while it is timed": (
        "incorrect",
        "raised",
        """
calls = 0
def norm(x, w):
    global calls
    calls += 1
    if calls > 400: raise RuntimeError('enough')
    return good(x, w)
""",
    ),
    "an empty answer": (
        "invalid",
        "protocol",
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cpu'))
module.Cpu.rounds = lambda *a: {}
""",
    ),
}
