"""Honest kernels on a GPU that do unusual things: those of everywhere and those that need streams, graphs or CUDA."""

import honest_anywhere


def _kernel(name: str) -> tuple[str, None]:
    return f"def norm(x, w): return _call(x.contiguous(), w, torch.empty_like(x), {name!r})", None


HONEST: dict[str, tuple[str, str | None]] = honest_anywhere.HONEST | {
    "side streams that are joined": (
        """
def norm(x, w):
    x = x.contiguous()
    out, h = torch.empty_like(x), x.shape[0] // 2
    current, side = torch.cuda.current_stream(), _side()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        if h: _call(x[:h], w, out[:h])
    _call(x[h:], w, out[h:])
    current.wait_stream(side)
    return out
""",
        None,
    ),
    "a graph of its own": (
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
    graph, still, out = graphs[x.shape]
    still[0].copy_(x)
    still[1].copy_(w)
    graph.replay()
    return out.clone()
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
    "sums split over blocks": _kernel("norm_split"),
    "it may start before the kernel ahead has ended": _kernel("norm_dependent"),
    "a window of the cache for its weights": _kernel("norm_window"),
}
