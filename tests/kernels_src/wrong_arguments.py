"""Arguments that fit and arguments that do not, mixed at random: an op computes what its reference does, or says what is wrong.

Runs in a child: an op that crashes on them ends the child, not the tests.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import promises
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 120
# What a person might hand over in the place of a tensor; some of it is fine for some arguments.
CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as it is": lambda t: t,
    "half": lambda t: t.half(),
    "bfloat16": lambda t: t.bfloat16(),
    "double": lambda t: t.double(),
    "integers": lambda t: t.int(),
    "complex": lambda t: t.to(torch.complex64),
    "sparse": lambda t: t.to_sparse(),
    "on meta": lambda t: t.to("meta"),
    "requires grad": lambda t: t.clone().requires_grad_() if t.is_floating_point() else t,
    "every other element": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "transposed in memory": lambda t: t.mT.contiguous().mT if t.dim() > 1 else t,
    "one element late": lambda t: torch.cat([t.flatten()[:1], t.flatten()])[1:].view(t.shape),
    "first row expanded": lambda t: t[:1].expand_as(t),
    "too many rows": lambda t: t[:1].expand(1 << 45, *t.shape[1:]),
    "one row less": lambda t: t[1:],
    "no rows": lambda t: t[:0],
    "one element less": lambda t: t[..., 1:],
    "empty rows": lambda t: t[..., :0],
    "one dimension more": lambda t: t[None],
    "flat": lambda t: t.flatten(),
    "a scalar": lambda t: t.flatten()[0],
    "a NaN in it": lambda t: t.clone().index_fill_(0, torch.tensor([0]), math.nan) if t.is_floating_point() else t,
}
# By the type of the default.
OTHER_VALUES: dict[type, list[Any]] = {
    float: [0.0, 1e-3, -1.0, math.nan, math.inf, "text", None],
    str: ["none", "mean", "tanh", "text", None],
    bool: [True, "text"],
    int: [0, -1, 1 << 70, "text"],
}


def are_refused_by_name(project: Path) -> None:
    """The entry of the project's package, called with arguments that were changed at random."""
    package, problem = promises.load(project)
    entry = getattr(package, problem.entry)
    parameters = inspect.signature(entry).parameters
    made = promises.arguments(problem, promises.small_shape(problem))
    # Options that the problem measures with are varied like those it leaves alone.
    tensors = [t for t in made if isinstance(t, torch.Tensor)]
    assert all(isinstance(t, torch.Tensor) for t in made[: len(tensors)]), "options come after the tensors"
    extra = {name: p.default for name, p in list(parameters.items())[len(tensors) :]}
    values = {n: st.sampled_from([d, *OTHER_VALUES.get(type(d), [])]) for n, d in extra.items()}

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        # One or two changes at a time: of more, all but the first would go unseen.
        changed = data.draw(st.lists(st.integers(0, len(tensors) - 1), max_size=2, unique=True))
        changes = [data.draw(st.sampled_from(sorted(CHANGES))) if i in changed else "as it is" for i in range(len(tensors))]
        given_ = [CHANGES[c](t) for c, t in zip(changes, tensors, strict=True)]
        keywords = {n: data.draw(v) for n, v in values.items()} if data.draw(st.booleans()) else {}
        _call(entry, problem, given_, keywords, (changes, keywords))

    check()


def _call(entry: Callable[..., Any], problem: ModuleType, given_: list[Any], keywords: dict[str, Any], what: object) -> None:
    names = "|".join(inspect.signature(entry).parameters)
    before = [t.clone() if _is_small(t) else t for t in given_]
    try:
        result = entry(*given_, **keywords)
    except (RuntimeError, TypeError, ValueError) as error:
        said = str(error)
        # Of a result that is too large only its memory is missing; that no op takes sparse tensors, torch says itself.
        assert re.search(rf"\b({names})\b|memory|SparseCPU", said), (what, said)
        return
    if any(isinstance(t, torch.Tensor) and t.is_meta for t in given_):
        assert result.is_meta, (what, "made data out of none")
        return
    wide = [t.double() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in before]
    with torch.no_grad():
        expected = problem.reference(*wide, **keywords)
    got = [result, *(given_[i] for i in getattr(problem, "mutates", ()))]
    wanted = [expected, *(wide[i] for i in getattr(problem, "mutates", ()))]
    for actual, right in zip(got, wanted, strict=True):
        _agree(actual, right, what)


def _agree(actual: Any, right: Any, what: object) -> None:
    if isinstance(right, tuple):
        for one, other in zip(actual, right, strict=True):
            _agree(one, other, what)
        return
    torch.testing.assert_close(
        actual, right.to(actual.dtype), rtol=2e-2, atol=2e-2, equal_nan=True, msg=lambda text: f"{what}\n{text}"
    )


def _is_small(t: Any) -> bool:
    return isinstance(t, torch.Tensor) and t.numel() < 1 << 24
