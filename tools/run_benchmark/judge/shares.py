"""Who did the work: the list of what ran during the candidate's calls, and whether it fits the clock."""

from __future__ import annotations

import re
from typing import Any

from .children import ChildRaisedError
from .trial import CALL_S, Row, Trial
from .wire import Message

# torch's own operators that only make, view or move tensors; they compute nothing.
IDLE = re.compile(
    r"aten::(empty|empty_like|empty_strided|new_empty|new_empty_strided|view|_unsafe_view|reshape|_reshape_alias|as_strided|"
    r"alias|detach|slice|select|expand|permute|transpose|t|unsqueeze|squeeze|contiguous|clone|copy_|to|_to_copy|zeros|zero_|"
    r"fill_|resize_|item|_local_scalar_dense|lift_fresh|set_|unbind|narrow|split|chunk|flatten|unflatten|result_type)$"
)
MOVES = re.compile(r"^(Memcpy|Memset)", re.IGNORECASE)
# Kernels of the vendor's libraries, however they were launched.
LIBRARY = re.compile(r"cublas|cudnn|nvjet|sm\d\d_xmma|ampere_\w*gemm|pytorch_flash|fmha_cutlass")
DOMINANT = 0.5
LONGER = 1.3
MOST_LISTED = 12
CPU_LOOKS = 3


def check_shares(trial: Trial, row: Row, call_s: float) -> None:
    """Record what ran. Torch's own kernels doing most of the work are suspicious, as is more device time than the clock saw."""
    cuda = trial.device == "cuda"
    try:
        # A call on the CPU can be interrupted, inside an operator or outside: then the share of one look is off either way.
        looks = [_look(trial, cuda) for _ in range(1 if cuda else CPU_LOOKS)]
    except ChildRaisedError as error:
        trial.findings.note(f"What runs inside a call could not be listed: {error.kind}.")
        return
    share, foreign, ran = sorted(looks, key=lambda look: look[0])[len(looks) // 2]
    calls = max(1, ran["calls"])
    row.times["ran"] = _per_call(ran["kernels"] if cuda else ran["operators"], calls)
    row.times["torch_share"] = round(share, 4)
    if share > DOMINANT:
        names = ", ".join(r["name"] for r in _per_call(foreign, calls)[:4])[:200]
        text = f"At {row.config} operators of torch or of a vendor's library do {100 * share:.0f} % of the work: {names}."
        policy = trial.problem["fallback"]
        if policy == "report":
            trial.findings.note(text)
        else:
            trial.findings.add("rejected" if policy == "reject" else "suspicious", "fallback", text)
    if cuda:
        row.times["profiled_us"] = ran["busy_us"] / calls
        if ran["busy_us"] / calls > LONGER * call_s * 1e6 + 2.0:
            trial.findings.add(
                "suspicious",
                "clock",
                f"At {row.config} the GPU works {ran['busy_us'] / calls:.1f} us for one call by the profiler, "
                f"the clock says {call_s * 1e6:.1f} us.",
            )


def _look(trial: Trial, cuda: bool) -> tuple[float, list[dict[str, Any]], Message]:
    """The share of torch's and vendors' operators in the time of the candidate's calls, those operators, and all that ran."""
    ran = trial.candidate.ask("profile", CALL_S * 2, name="candidate")
    computing = [r for r in ran["operators"] if r["name"].startswith("aten::") and not IDLE.match(r["name"]) and r["us"] > 0]
    kernels = [r for r in ran["kernels"] if not MOVES.match(r["name"])]
    library = [r for r in kernels if LIBRARY.search(r["name"])]
    whole = sum(r["us"] for r in kernels) if cuda else ran["wall_us"]
    # A library's kernel that an operator launched stands in both lists.
    time = max(sum(r["us"] for r in computing), sum(r["us"] for r in library))
    return (time / whole if whole > 0 else 0.0), computing + library, ran


def _per_call(rows: list[dict[str, Any]], calls: int) -> list[dict[str, Any]]:
    found = [{"name": r["name"], "calls": r["calls"] / calls, "us": round(r["us"] / calls, 3)} for r in rows if r["us"] > 0]
    return sorted(found, key=lambda r: -r["us"])[:MOST_LISTED]
