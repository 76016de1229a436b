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
# Kernels of torch's own, and those of them that only make or move tensors.
TORCH = re.compile(r"\bat::native\b|\bat_cuda_detail\b")
IDLE_KERNEL = re.compile(r"FillFunctor|copy_kernel|CatArrayBatchedCopy|\barange")
MOVES = re.compile(r"^(Memcpy|Memset)", re.IGNORECASE)
# Kernels of the vendor's libraries, however they were launched.
LIBRARY = re.compile(r"cublas|cudnn|nvjet|sm\d\d_xmma|ampere_\w*gemm|pytorch_flash|fmha_cutlass")
# A decoy of the package's own may take as long as the work that torch does beside it.
DOMINANT = 1 / 3
LONGER = 1.3
MOST_LISTED = 12
CPU_LOOKS = 3


def check_shares(trial: Trial, row: Row, call_s: float) -> None:
    """Record what ran. Suspicious: torch's own kernels do a third of the work, or more device time than the clock saw."""
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
        timed, count = (ran["replayed"], ran["replayed_calls"]) if "replayed" in ran else (ran, calls)
        row.times["profiled_us"] = busy_us = timed["busy_us"] / max(1, count)
        if busy_us > LONGER * call_s * 1e6 + 2.0:
            trial.findings.add(
                "suspicious",
                "clock",
                f"At {row.config} the GPU works {busy_us:.1f} us for one call by the profiler, "
                f"the clock says {call_s * 1e6:.1f} us.",
                timed=True,
            )


def _look(trial: Trial, cuda: bool) -> tuple[float, list[dict[str, Any]], Message]:
    """The share of torch's and vendors' operators in the time of the candidate's calls, those operators, and all that ran."""
    ran = trial.candidate.ask("profile", CALL_S * 2, name="candidate")
    computing = [r for r in ran["operators"] if r["name"].startswith("aten::") and not IDLE.match(r["name"]) and r["us"] > 0]
    if not cuda:
        whole = ran["wall_us"]
        return (sum(r["us"] for r in computing) / whole if whole > 0 else 0.0), computing, ran
    # By the names of kernels too: a graph of the package's own hides operators, and of what is replayed it does not know.
    looks = [(_share(ran["kernels"], sum(r["us"] for r in computing)), computing + _foreign(ran["kernels"]))]
    if "replayed" in ran:
        looks.append((_share(ran["replayed"]["kernels"], 0.0), _foreign(ran["replayed"]["kernels"])))
    share, foreign = max(looks, key=lambda look: look[0])
    return share, foreign, ran


def _share(kernels: list[dict[str, Any]], operators_us: float) -> float:
    # A kernel that an operator launched stands in both lists.
    whole = sum(r["us"] for r in kernels if not MOVES.match(r["name"]))
    return max(operators_us, sum(r["us"] for r in _foreign(kernels))) / whole if whole > 0 else 0.0


def _foreign(kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kernels of torch's or of a vendor's library that compute."""
    named = [(r, r["name"]) for r in kernels if not MOVES.match(r["name"])]
    return [r for r, name in named if LIBRARY.search(name) or (TORCH.search(name) and not IDLE_KERNEL.search(name))]


def _per_call(rows: list[dict[str, Any]], calls: int) -> list[dict[str, Any]]:
    found = [{"name": r["name"], "calls": r["calls"] / calls, "us": round(r["us"] / calls, 3)} for r in rows if r["us"] > 0]
    return sorted(found, key=lambda r: -r["us"])[:MOST_LISTED]
