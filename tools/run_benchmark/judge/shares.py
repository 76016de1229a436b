"""Who did the work: the list of what ran during the candidate's calls, and whether it fits the clock."""

from __future__ import annotations

import re
from typing import Any

from .children import ChildRaisedError
from .trial import CALL_S, Row, Trial

# torch's own operators that only make, view or move tensors; they compute nothing.
IDLE = re.compile(
    r"aten::(empty|empty_like|empty_strided|new_empty|new_empty_strided|view|_unsafe_view|reshape|_reshape_alias|as_strided|"
    r"alias|detach|slice|select|expand|permute|transpose|t|unsqueeze|squeeze|contiguous|clone|copy_|to|_to_copy|zeros|zero_|"
    r"fill_|resize_|item|_local_scalar_dense|lift_fresh|set_|unbind|narrow|split|chunk|flatten|unflatten|result_type)$"
)
MOVES = re.compile(r"^(Memcpy|Memset)", re.IGNORECASE)
TORCH_KERNEL = re.compile(
    r"at::native|at_cuda_detail|cutlass|cublas|cudnn|gemm|ampere_|sm\d\d_xmma|nvjet|flash_fwd|fmha|pytorch_flash"
)
DOMINANT = 0.5
SHORTER = 1.3


def check_shares(trial: Trial, row: Row, call_s: float) -> None:
    """Record what ran. Torch's own kernels doing most of the work are suspicious, as is more device time than the clock saw."""
    try:
        reply = trial.candidate.ask("profile", CALL_S * 2, name="candidate")
    except ChildRaisedError as error:
        trial.findings.note(f"What runs inside a call could not be listed: {error.kind}.")
        return
    rows, calls = reply["rows"], max(1, reply["calls"])
    row.times["ran"] = sorted(
        ({"name": r["name"], "calls": r["calls"] / calls, "us": r["us"] / calls} for r in rows), key=lambda r: -r["us"]
    )[:12]
    torch_us = sum(r["us"] for r in rows if _is_torchs(r["name"], trial.device))
    whole = sum(r["us"] for r in rows if not MOVES.match(r["name"])) if trial.device == "cuda" else reply["wall_us"]
    share = torch_us / whole if whole > 0 else 0.0
    row.times["torch_share"] = share
    if share > DOMINANT:
        names = ", ".join(_short(r) for r in row.times["ran"] if _is_torchs(r["name"], trial.device))[:160]
        trial.findings.add(
            "suspicious", "fallback", f"At {row.config} torch's own operators do {100 * share:.0f} % of the work: {names}."
        )
    if trial.device == "cuda" and whole > 0:
        profiled = whole / calls
        row.times["profiled_us"] = profiled
        # Kernels that overlap on several streams add up to more than the time they take together.
        if profiled > SHORTER * call_s * 1e6 + 2.0:
            trial.findings.add(
                "suspicious",
                "clock",
                f"At {row.config} the kernels of one call run {profiled:.1f} us by the profiler, "
                f"the clock says {call_s * 1e6:.1f} us.",
            )


def _is_torchs(name: str, device: str) -> bool:
    if device == "cuda":
        return bool(TORCH_KERNEL.search(name))
    return name.startswith("aten::") and not IDLE.match(name)


def _short(row: dict[str, Any]) -> str:
    return re.sub(r"<.*", "", row["name"]).removeprefix("void ")
