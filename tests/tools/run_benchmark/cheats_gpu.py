"""Ways to cheat on a GPU: those of everywhere and those that need streams, graphs or CUDA, as text for the good package."""

from __future__ import annotations

import cheats_anywhere
from cheats_anywhere import Cheat

SKIPPED = ("skipped calls",)


def _kernel(name: str) -> str:
    return f"def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), {name!r})"


CHEATS: dict[str, Cheat] = cheats_anywhere.CHEATS | {
    "a stream nobody waits for": Cheat(
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), stream=_side().cuda_stream)
""",
    ),
    "the legacy stream": Cheat(
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), stream=0)
""",
    ),
    "the stream of its thread": Cheat(
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), stream=2)
""",
    ),
    "late work on another stream": Cheat(
        ("incorrect", "rejected"),
        ("wrong", "late work"),
        """
def norm(x, w):
    out = torch.empty_like(x)
    _side().wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(_side()):
        torch.cuda._sleep(3_000_000)
        _call(x.contiguous(), w, out)
    return out
""",
    ),
    "work in a callback of the host": Cheat(("incorrect", "rejected"), ("wrong", "late work"), _kernel("norm_callback")),
    "nothing while captured": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", *SKIPPED),
        """
def norm(x, w): return torch.empty_like(x) if _capturing() else good(x, w)
""",
    ),
    "half of the rows while captured": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", *SKIPPED),
        """
def norm(x, w):
    out = torch.empty_like(x)
    return _call(x[: x.shape[0] // 2], w, out) if _capturing() else good(x, w)
""",
    ),
    "a copy while captured": Cheat(
        ("incorrect", "rejected"),
        ("wrong when timed", "clock", "impossible"),
        """
kept = {}
def norm(x, w):
    if not _capturing(): kept[x.shape] = good(x, w)
    return kept[x.shape].clone()
""",
    ),
    "kept by pointer in CUDA": Cheat(("incorrect",), ("wrong", "form"), _kernel("norm_kept")),
    "kept by a hash of the GPU": Cheat(("rejected",), SKIPPED, _kernel("norm_hashed")),
    "every third call left out": Cheat(("rejected",), SKIPPED, _kernel("norm_by_count")),
    "every third set left out": Cheat(("rejected",), SKIPPED, _kernel("norm_by_pointer")),
    "calls left out by the clock": Cheat(("rejected",), SKIPPED, _kernel("norm_by_time")),
    "a third of the rows in turn left out": Cheat(("rejected",), SKIPPED, _kernel("norm_in_turn")),
    "work only where NaN lies": Cheat(("rejected",), SKIPPED, _kernel("norm_blanked")),
    "a graph of its own with its first inputs": Cheat(
        ("incorrect",),
        ("wrong",),
        """
graphs = {}
def norm(x, w):
    if _capturing(): return good(x, w)
    if x.shape not in graphs:
        still = (x.clone(), w.clone())
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): out = good(*still)
        graphs[x.shape] = (graph, still, out)
    graphs[x.shape][0].replay()
    return graphs[x.shape][2].clone()
""",
    ),
    "torch in a graph of its own": Cheat(
        ("suspicious",),
        ("fallback",),
        """
graphs = {}
def plain(x, w): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
def norm(x, w):
    if _capturing(): return plain(x, w)
    if x.shape not in graphs:
        still = (x.clone(), w.clone())
        plain(*still)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): out = plain(*still)
        graphs[x.shape] = (graph, still, out)
    graph, still, out = graphs[x.shape]
    still[0].copy_(x)
    still[1].copy_(w)
    graph.replay()
    return out.clone()
""",
    ),
    "torch unless it is profiled": Cheat(
        ("suspicious",),
        ("fallback",),
        """
def norm(x, w):
    if torch.autograd._profiler_enabled(): return good(x, w)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w
""",
    ),
    "every other replay": Cheat(
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
    "events that lie": Cheat(
        ("invalid",),
        ("tampering",),
        """
real = torch.cuda.Event.elapsed_time
torch.cuda.Event.elapsed_time = lambda self, other: real(self, other) / 2
""",
    ),
    "a harness that skips replays": Cheat(
        ("invalid", "rejected"),
        ("clock", "tampering", "cached or skipped", *SKIPPED),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cuda'))
real = module.Cuda.rounds
def _lazy(self, track, sets, count):
    done = real(self, track, sets, 1 if count > 1 else count)
    return {**done, 'rounds': count, 'event_ms': done['event_ms'] * count / 3}
module.Cuda.rounds = _lazy
""",
    ),
    "a witness that saw nothing": Cheat(
        ("invalid",),
        ("tampering",),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.witness') and hasattr(m, 'Witness'))
module.Witness.settle = lambda self: 0
""",
    ),
    "an empty answer": Cheat(
        ("invalid", "rejected"),
        ("protocol",),
        """
module = next(m for n, m in sys.modules.items() if n.endswith('.machine') and hasattr(m, 'Cuda'))
module.Cuda.rounds = lambda *a: {}
""",
    ),
    "reads out of bounds": Cheat(("incorrect",), ("raised", "fault", "exited", "signal"), _kernel("norm_beyond")),
    "tf32 for everybody": Cheat(("invalid",), ("tampering",), "torch.backends.cuda.matmul.allow_tf32 = True"),
}
